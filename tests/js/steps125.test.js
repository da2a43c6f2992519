import assert from "node:assert/strict";
import { test } from "node:test";

import { nudge } from "../../static/js/lib/steps125.js";

function climb(value, direction, times, options) {
  const seen = [];
  for (let turn = 0; turn < times; turn += 1) {
    value = nudge(value, direction, options);
    seen.push(value);
  }
  return seen;
}

test("rates go 1–2–5, over powers of ten", () => {
  assert.deepEqual(climb(1e-4, 1, 5), [2e-4, 5e-4, 1e-3, 2e-3, 5e-3]);
  assert.deepEqual(climb(1e-3, -1, 4), [5e-4, 2e-4, 1e-4, 5e-5]);
});

test("a value between rungs goes to the next one", () => {
  assert.equal(nudge(3e-4, 1), 5e-4);
  assert.equal(nudge(3e-4, -1), 2e-4);
  assert.equal(nudge(2.5e-4, 1), 5e-4);
});

test("whole numbers stay whole", () => {
  assert.deepEqual(climb(8, 1, 4, { whole: true }), [9, 10, 20, 50]);
  assert.deepEqual(climb(64, -1, 3, { whole: true }), [50, 20, 10]);
});

test("zero can be left, and is not passed downwards", () => {
  assert.equal(nudge(0, 1), 1e-4);
  assert.equal(nudge(0, -1), 0);
  assert.equal(nudge(0, 1, { whole: true }), 1);
});
