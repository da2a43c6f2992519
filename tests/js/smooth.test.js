import assert from "node:assert/strict";
import { test } from "node:test";

import { Smoother, smooth } from "../../static/js/lib/smooth.js";

test("a constant stays as it is, from its first point on", () => {
  for (const value of smooth([1, 2, 3, 10], [5, 5, 5, 5], 4)) assert.ok(Math.abs(value - 5) < 1e-12);
});

test("the first value weighs no more than its share", () => {
  const [, second] = smooth([1, 2], [10, 0], 1000);
  assert.ok(Math.abs(second - 5) < 0.01, `${second}`);
});

test("after one half-life of a step change, half of it is left", () => {
  const steps = Array.from({ length: 2000 }, (_, index) => index + 1);
  const averages = smooth(steps, steps.map((step) => (step <= 1000 ? 1 : 0)), 50);
  assert.ok(Math.abs(averages[1049] - 0.5) < 0.01, `${averages[1049]}`);
});

test("a gap neither counts nor spoils what follows", () => {
  const averages = smooth([1, 2, 3], [1, null, 1], 2);
  assert.equal(averages[1], null);
  assert.ok(Math.abs(averages[2] - 1) < 1e-12);
});

test("carrying on gives what one pass gives", () => {
  const steps = [1, 2, 5, 9];
  const values = [3, 1, 4, 1];
  const carried = new Smoother(3);
  assert.deepEqual(values.map((value, index) => carried.next(steps[index], value)), smooth(steps, values, 3));
});
