import assert from "node:assert/strict";
import { test } from "node:test";

import { extent, extremes, halfLife, logRange, logTicks, niceRange, outlierFence, usesEpochs } from "../../static/js/lib/scale.js";

test("a spike is an outlier, the fall of a loss is none", () => {
  const fall = Array.from({ length: 200 }, (_, index) => 1 + 3.6 * Math.exp(-index / 30));
  assert.ok(outlierFence(fall) > 4.6);
  const spiked = [4.6, 5984, 700, ...Array(60).fill(4.6), NaN, null];
  assert.ok(outlierFence(spiked) < 10);
  assert.equal(outlierFence([1, 900]), Infinity);
  const long = [4.6, 3, 2, ...Array(500).fill(1)];
  assert.ok(outlierFence(long) < 2 && outlierFence(long, true) > 4.6);
});

test("extremes leave out what is above the fence and what is no number", () => {
  assert.deepEqual(extremes([3, null, NaN, 1, 900], 10), [1, 3]);
  assert.equal(extremes([null]), null);
});

test("a range ends at round numbers, within its bounds, with zero if that is near", () => {
  const share = { least: 0, most: 1 };
  assert.deepEqual(niceRange(0.612, 0.714, share), [0.6, 0.725]);
  assert.deepEqual(niceRange(0.01, 0.5, share), [0, 0.5]);
  assert.deepEqual(niceRange(0.93, 0.999, share), [0.92, 1]);
  assert.deepEqual(niceRange(0, 0, share), [0, 0.6]);
  assert.deepEqual(niceRange(-2.2, 3.1), [-4, 4]);
  const [low, high] = niceRange(1e-3, 1e-3);
  assert.ok(low < 1e-3 && high > 1e-3);
});

test("a logarithmic range ends at one significant figure", () => {
  assert.deepEqual(logRange(0.0123, 5984), [0.01, 6000]);
  assert.deepEqual(logRange(3, 3), [3, 6]);
  assert.deepEqual(logTicks([0.9, 1, 2, 3, 4, 5, 6]), [null, 1, 2, null, null, 5, null]);
  assert.deepEqual(logTicks([1, 2, 10, 1000]), [1, null, 10, 1000]);
});

test("a live axis only grows, to a tenth more than was reached, and not past the run", () => {
  let end = 0;
  const ends = new Set();
  for (let reached = 0; reached <= 100; reached += 0.5) {
    const next = extent(end, reached, 100, true);
    assert.ok(next >= end && next >= reached && next <= Math.max(2, 1.1 * reached));
    end = next;
    ends.add(end);
  }
  assert.equal(end, 100);
  assert.ok(ends.size < 45, `${ends.size} strides`);
});

test("an ended run's axis ends where the run did", () => {
  assert.equal(extent(12, 7, 12, false), 7);
  assert.equal(extent(0, 0, 12, false), 12);
});

test("epochs from two epochs on", () => {
  assert.equal(usesEpochs(199, 100), false);
  assert.equal(usesEpochs(200, 100), true);
  assert.equal(usesEpochs(200, 0), false);
});

test("compared runs are smoothed over a quarter epoch, less in a short run", () => {
  assert.equal(halfLife(70300, 703), 703 / 4);
  assert.equal(halfLife(600, 703), 10);
  assert.equal(halfLife(20, 1), 1);
});
