import assert from "node:assert/strict";
import { test } from "node:test";

import { countAbove, extent, halfLife, isShort, lossTop, usesEpochs } from "../../static/js/lib/scale.js";

test("the loss axis holds chance, and forgets the first 2%", () => {
  const column = { step: [1, 10, 500], value: [90, 40, 2] };
  assert.equal(lossTop([column], 1000, Math.log(100)), 1.05 * Math.log(100));
  assert.equal(lossTop([{ step: [1, 21, 500], value: [90, 40, 2] }], 1000, 4.6), 42);
});

test("while nothing else is there, the first points do set the axis", () => {
  assert.equal(lossTop([{ step: [1, 2], value: [10, 8] }], 1000, null), 10.5);
  assert.equal(lossTop([{ step: [], value: [] }], 1000, null), 1);
});

test("what lies above the axis is counted", () => {
  assert.equal(countAbove([{ value: [1, 5, null, 9] }, { value: [2] }], 4), 2);
});

test("a live axis only grows, in few strides, and not past the run", () => {
  let end = 0;
  const ends = new Set();
  for (let reached = 0; reached <= 100; reached += 0.5) {
    const next = extent(end, reached, 100, { live: true, short: false });
    assert.ok(next >= end && next >= reached);
    end = next;
    ends.add(end);
  }
  assert.equal(end, 100);
  assert.ok(ends.size < 15, `${ends.size} strides`);
});

test("a short run shows its whole length, an ended one what it did", () => {
  assert.equal(extent(0, 1, 12, { live: true, short: true }), 12);
  assert.equal(extent(12, 7, 12, { live: false, short: true }), 7);
});

test("epochs from two epochs on", () => {
  assert.equal(usesEpochs(199, 100), false);
  assert.equal(usesEpochs(200, 100), true);
  assert.equal(usesEpochs(200, 0), false);
  assert.equal(isShort(2000, 100), true);
  assert.equal(isShort(2001, 100), false);
});

test("smoothing looks back a quarter epoch, less in a short run", () => {
  assert.equal(halfLife(70300, 703), 703 / 4);
  assert.equal(halfLife(600, 703), 10);
  assert.equal(halfLife(20, 1), 1);
});
