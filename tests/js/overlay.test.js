import assert from "node:assert/strict";
import { test } from "node:test";

import { beginning, cut, dashOf, fitted, lastOf, markOf, roleOf, spread, valueAt } from "../../static/js/lib/overlay.js";

test("the axis fits what is in view, within bounds", () => {
  const columns = [{ x: [1, 2, 3], value: [0.2, 0.5, null] }, { x: [2.5], value: [0.9] }];
  const [low, high] = fitted(columns, 2, 3);
  assert.ok(Math.abs(low - 0.476) < 1e-9 && Math.abs(high - 0.924) < 1e-9);
  assert.deepEqual(fitted([{ x: [1, 2], value: [0.01, 0.99] }], 0, 9, { least: 0, most: 1 }), [0, 1]);
  assert.deepEqual(fitted([{ x: [], value: [] }], 0, 9), [0, 1]);
  const [flatLow, flatHigh] = fitted([{ x: [1], value: [0.5] }], 0, 9);
  assert.ok(flatLow < 0.5 && flatHigh > 0.5);
});

test("labels keep apart, in order, within the plot, as near as possible to their values", () => {
  assert.deepEqual(spread([10, 50], [14, 14], 0, 100), [10, 50]);
  assert.deepEqual(spread([50, 50, 53], [14, 14, 14], 0, 100), [37, 51, 65]);
  assert.deepEqual(spread([98, 99], [14, 14], 0, 100), [79, 93]);
  assert.deepEqual(spread([30, 2, 3], [14, 14, 14], 0, 100), [35, 7, 21]);
  assert.deepEqual(spread([50, 50], [28, 10], 0, 100), [40.5, 59.5]);
  assert.deepEqual(spread([], [], 0, 100), []);
});

test("a value is read where it is, or from before", () => {
  const line = { x: [1, 2, 3], value: [0.1, 0.2, null] };
  assert.deepEqual(lastOf(line), { x: 2, value: 0.2 });
  assert.equal(lastOf({ x: [], value: [] }), null);
  assert.deepEqual([0.5, 1, 1.9, 3, Infinity].map((at) => valueAt(line, at)), [null, 0.1, 0.1, 0.2, 0.2]);
});

test("a long name loses its middle", () => {
  const measure = (text) => text.length;
  assert.equal(cut("short", 10, measure), "short");
  assert.ok(cut("cnn lr3e-4 wd1e-4 seed2", 13, measure).endsWith("seed2"));
  assert.equal(cut("long name", 1, measure), "");
});

test("six hues, then grey; any six in a row differ by dash and by mark", () => {
  assert.deepEqual([0, 5, 6, 11].map(roleOf), ["slot-0", "slot-5", "slot-grey", "slot-grey"]);
  for (const first of [0, 3, 6]) {
    const slots = [0, 1, 2, 3, 4, 5].map((index) => first + index);
    assert.equal(new Set(slots.map((slot) => dashOf(slot).join())).size, 6);
    assert.equal(new Set(slots.map(markOf)).size, 6);
  }
});

test("the x axis begins at zero, or at the first point if that is far from it", () => {
  const columns = (...firsts) => firsts.map((first) => ({ x: first === null ? [] : [first, 10] }));
  assert.equal(beginning(columns(1, 2), 10), 1);
  assert.equal(beginning(columns(0.2, 2), 10), 0);
  assert.equal(beginning(columns(null), 10), 0);
  assert.equal(beginning([{ x: [10] }], 10), 0);
});
