import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as format from "../../static/js/lib/format.js";

const cases = JSON.parse(readFileSync(new URL("format_cases.json", import.meta.url), "utf8"));

for (const [name, rows] of Object.entries(cases)) {
  test(`${name} reads as the server has it`, () => {
    for (const row of rows) {
      const expected = row.at(-1);
      assert.equal(format[name](...row.slice(0, -1)), expected, JSON.stringify(row));
    }
  });
}

test("the tab's title leads with what changes", () => {
  const run = { status: "running", progress: 0.63, best_acc: 0.714, name: "cnn" };
  assert.equal(format.tabTitle(run), "63% · 71.4 · cnn");
  assert.equal(format.tabTitle({ ...run, status: "finished" }), "71.4 · cnn");
  assert.equal(format.tabTitle({ ...run, status: "queued", best_acc: null }), "cnn");
});

test("ago is coarse", () => {
  assert.deepEqual([2, 12, 61 * 60, 26 * 3600].map(format.ago), ["just now", "12 s ago", "1 h ago", "1 d ago"]);
});

test("another day's clock time carries its date", () => {
  const now = new Date(2026, 0, 2, 12, 0);
  assert.equal(format.clock(new Date(2026, 0, 2, 9, 5), now), "09:05");
  assert.equal(format.clock(new Date(2026, 0, 3, 9, 5), now), "3 Jan, 09:05");
});

test("three significant figures, and more only where ticks would look the same", () => {
  const figures = [0.12345, 12.345, 1234.5, 0.00012345, 1e-3, 2e36, 0, NaN].map((value) => format.figures(value));
  assert.deepEqual(figures, ["0.123", "12.3", "1,230", "1.23e-4", "1e-3", "2e36", "0", "NaN"]);
  assert.deepEqual([12, 3.7, 0, 1200].map((value) => format.figures(value, true)), ["12.0", "3.70", "0", "1,200"]);
  assert.deepEqual([format.tickText(2.5, 0.5), format.tickText(4.5234, 0.0002)], ["2.5", "4.5234"]);
  assert.equal(format.tickText(0.0009995, 0.0000005), "9.995e-4"); // longer, it would run into the title of the axis
  const ticks = (...splits) => splits.map((value) => format.percentTick(value, splits));
  assert.deepEqual(ticks(0.01, 0.0125, 0.015), ["1.00", "1.25", "1.50"]);
  assert.deepEqual(ticks(0, 0.025, 0.05), ["0.0", "2.5", "5.0"]);
  assert.deepEqual(ticks(0.2, 0.4), ["20", "40"]);
  assert.equal(format.percentTick(0.002, [0.002, null]), "0.2");
});
