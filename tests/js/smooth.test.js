import assert from "node:assert/strict";
import { test } from "node:test";

import { extend, halfLifeOf, Smoother, smooth } from "../../static/js/lib/smooth.js";

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

test("an outlier is left out, and leaves a gap", () => {
  const averages = smooth([1, 2, 3, 4], [5, 5, 5984, 5], 10, 100);
  assert.equal(averages[2], null);
  assert.ok(Math.abs(averages[3] - 5) < 1e-12);
});

test("a weight is kept per regular distance, and by none without smoothing", () => {
  assert.equal(halfLifeOf([4, 8, 12, 16], 0), 0);
  assert.ok(Math.abs(halfLifeOf([4, 8, 12, 16], 0.5) - 4) < 1e-12);
  assert.ok(Math.abs(halfLifeOf([0, 1, 2, 100_000], 0.5) - 100) < 1e-9);
  assert.deepEqual(smooth([1, 2], [3, 7], halfLifeOf([1, 2], 0)), [3, 7]);
});

test("an average computed elsewhere is continued", () => {
  const steps = Array.from({ length: 300 }, (_, index) => index + 1);
  const values = steps.map((step) => Math.sin(step / 9));
  const all = smooth(steps, values, 5);
  const averages = all.slice(0, 200);
  extend(steps, values, averages, 5, Infinity);
  averages.forEach((value, index) => assert.ok(Math.abs(value - all[index]) < 1e-9));
});
