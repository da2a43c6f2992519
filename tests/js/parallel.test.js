import assert from "node:assert/strict";
import { test } from "node:test";

import { scaled } from "../../static/js/lib/parallel.js";
import { niceTicks } from "../../static/js/lib/scale.js";

const near = (found, wanted) => found.forEach((value, index) => assert.ok(Math.abs(value - wanted[index]) < 1e-9, `${found} is not ${wanted}`));

test("few values are ticks, and a logarithmic axis is divided by ratio", () => {
  const { shares, ticks } = scaled({ scale: "log", values: [1e-4, 1e-3, 1e-2] });
  near(shares, [0, 0.5, 1]);
  assert.deepEqual(ticks.map(([, text]) => text), ["1e-4", "1e-3", "0.01"]);
});

test("many values have round ticks, which keep apart", () => {
  const { shares, ticks } = scaled({ scale: "linear", values: [20, 21, 22, 23, 24, 25, 50] });
  near([shares[0], shares[6]], [0, 1]);
  assert.deepEqual(ticks.map(([, text]) => text), ["20", "30", "40", "50"]);
  const close = scaled({ scale: "linear", values: [0, 0.01, 100] });
  assert.deepEqual(close.ticks.map(([, text]) => text), ["0", "100"]);
  assert.deepEqual(niceTicks(0.3, 1), [0.4, 0.6, 0.8, 1]);
});

test("categories are in natural order; a run without a value has none", () => {
  const { shares, ticks } = scaled({ scale: "categories", values: ["sgd", "adamw", "10", "9", "sgd"] });
  near(shares, [1, 2 / 3, 1 / 3, 0, 1]);
  assert.deepEqual(ticks.map(([, text]) => text), ["9", "10", "adamw", "sgd"]);
  assert.deepEqual(scaled({ scale: "linear", values: [null, 5, 5] }).shares[0], null);
});
