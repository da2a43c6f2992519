import assert from "node:assert/strict";
import { test } from "node:test";
import { Lines } from "../../static/js/lib/lines.js";

const lines = (...keys) => keys.map((key) => ({ key, line: `line ${key}` }));
const shown = (placed) => placed.map(({ line, at }) => [line.key, at]);

test("lines that are fetched after a live one came are all shown, before it", () => {
  const log = new Lines([1, 2]);
  assert.deepEqual(shown(log.add(lines(9))), [[9, 2]]);
  assert.equal(log.reached, 2);
  assert.deepEqual(shown(log.fetched(lines(4, 5, 7, 9))), [[4, 2], [5, 3], [7, 4]]);
  assert.deepEqual(log.keys, [1, 2, 4, 5, 7, 9]);
  assert.equal(log.reached, 9);
});

test("a line is shown once", () => {
  const log = new Lines([]);
  assert.equal(log.add(lines(3, 4)).length, 2);
  assert.deepEqual(log.fetched(lines(3, 4)), []);
  assert.deepEqual(log.fetched([]), []);
  assert.equal(log.reached, 4);
});

test("the oldest lines are given up", () => {
  const log = new Lines([1, 2, 3]);
  assert.equal(log.trim(2), 1);
  assert.equal(log.trim(2), 0);
  assert.deepEqual(log.keys, [2, 3]);
});
