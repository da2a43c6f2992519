import assert from "node:assert/strict";
import { test } from "node:test";

import { Series, align, lowerBound } from "../../static/js/lib/series.js";

function seriesOf(steps, values = steps.map((step) => step / 10)) {
  const series = new Series();
  series.append({ step: steps, value: values, time: steps });
  return series;
}

test("points arrive in order, twice, and late, and each step is there once", () => {
  const series = seriesOf([1, 2, 3]);
  series.append({ step: [3, 4], value: [33, 4], time: [3, 4] });
  series.append({ step: [0], value: [0], time: [0] });
  assert.deepEqual(series.step, [0, 1, 2, 3, 4]);
  assert.deepEqual(series.value, [0, 0.1, 0.2, 33, 4]);
  assert.equal(series.time.length, 5);
});

test("append says from where on the series has changed", () => {
  const series = seriesOf([1, 2, 3]);
  assert.equal(series.append({ step: [4], value: [4] }), 3);
  assert.equal(series.append({ step: [2, 5], value: [2, 5] }), 1);
});

test("a rewind drops what lies past its step, and the new points take over", () => {
  const series = seriesOf([10, 20, 30, 40]);
  series.rewind(20);
  assert.deepEqual(series.step, [10, 20]);
  series.append({ step: [30], value: [9], time: [1] });
  assert.deepEqual(series.value.at(-1), 9);
});

test("a rewind between points keeps the one before, one to the start keeps nothing", () => {
  const series = seriesOf([10, 20, 30]);
  series.rewind(25);
  assert.deepEqual(series.step, [10, 20]);
  series.rewind(0);
  assert.equal(series.length, 0);
  assert.equal(series.last, -1);
});

test("an answer of the API says whether it holds every point, and which average belongs to each", () => {
  const answer = { step: [1, 5], value: [3, 4], time: [1, 5], total: 5, smoothed: [3, 3.5], outliers_above: null };
  const series = new Series(answer);
  series.append({ step: [6], value: [5], time: [6] });
  assert.equal(series.isComplete, false);
  assert.equal(series.fence, Infinity);
  series.rewind(1);
  assert.deepEqual(series.averages, [3]);
  assert.equal(new Series({ ...answer, total: 2 }).isComplete, true);
  assert.equal(new Series().isComplete, true);
});

test("columns share one x: what is missing is undefined, what is not finite is null", () => {
  const table = align([
    { step: [1, 2, 4], value: [1, null, 4] },
    { step: [2, 3], value: [20, 30] },
  ]);
  assert.deepEqual(table, [[1, 2, 3, 4], [1, null, undefined, 4], [undefined, 20, 30, undefined]]);
});

test("lowerBound finds the first index not below", () => {
  assert.deepEqual([0, 1, 2, 3, 9].map((wanted) => lowerBound([1, 3, 5], wanted)), [0, 0, 1, 1, 3]);
});
