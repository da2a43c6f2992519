import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock, interpolated, tick } from "../../static/js/lib/axis.js";

const POINTS = { step: [1, 2, 3, 4], time: [1001, 1002, 5003, 5004] };
const ATTEMPTS = [{ step: 0, start: 1000, end: 1002.5 }, { step: 2, start: 5002, end: 5004 }];

test("relative time leaves out the pauses between attempts", () => {
  const clock = new Clock(POINTS, ATTEMPTS);
  assert.deepEqual(clock.relative, [1, 2, 3.5, 4.5]);
  assert.equal(clock.at(3, "wall"), 5003);
  assert.equal(clock.at(2.5, "relative"), 2.75);
  assert.equal(clock.stepAt(4.5, "relative"), 4);
});

test("without attempts, the first point is the start; a clock that was set back stands still", () => {
  const clock = new Clock({ step: [1, 2, 3], time: [1000, 900, 1010] });
  assert.deepEqual(clock.wall, [1000, 1000, 1010]);
  assert.deepEqual(clock.relative, [0, 0, 10]);
  assert.equal(new Clock().isEmpty, true);
});

test("between points a line, outside them the nearest", () => {
  assert.deepEqual([0, 1, 1.5, 2, 9].map((x) => interpolated([1, 2], [10, 20], x)), [10, 10, 15, 20, 20]);
});

test("ticks have the unit of their axis", () => {
  assert.equal(tick("step", 12000, 20000), "12,000");
  assert.equal(tick("epoch", 1.5, 2), "1.5");
  assert.equal(tick("relative", 221, 600), "3:41");
});
