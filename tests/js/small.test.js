import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff } from "../../static/js/lib/backoff.js";
import { fitted } from "../../static/js/lib/fit.js";
import { place, shade } from "../../static/js/lib/matrix.js";
import { parsed, withNewest } from "../../static/js/lib/recent.js";
import { arrival, timeText } from "../../static/js/lib/row.js";
import { peak, strength } from "../../static/js/lib/saliency.js";
import { sparkline } from "../../static/js/lib/spark.js";

test("waiting doubles, and ends at 15 s", () => {
  assert.deepEqual([0, 1, 2, 20].map((attempt) => backoff(attempt, 0.5)), [500, 1000, 2000, 15000]);
  assert.equal(backoff(0, 0), 375);
});

test("images are fitted as the dataset's were", () => {
  assert.deepEqual(fitted(64, 32, 32, "squash"), { x: 0, y: 0, width: 32, height: 32 });
  assert.deepEqual(fitted(64, 32, 32, "pad"), { x: 0, y: 8, width: 32, height: 16 });
  assert.deepEqual(fitted(64, 32, 32, "crop"), { x: -16, y: 0, width: 64, height: 32 });
});

test("the time column says left, took, or where it ended", () => {
  const run = { status: "running", eta_seconds: 221, phase: "training", step: 611, epoch: 5 };
  assert.equal(timeText(run), "3:41 left");
  assert.equal(timeText({ ...run, eta_is_rough: true }), "about 4 min left");
  assert.equal(timeText({ ...run, eta_seconds: null }), "training");
  assert.equal(timeText({ ...run, status: "failed" }), "at step 611");
  assert.equal(timeText({ ...run, status: "stopped" }), "at epoch 5");
  const times = { started_at: "2026-01-01T00:00:00Z", finished_at: "2026-01-01T00:09:50Z" };
  assert.equal(timeText({ ...run, status: "finished", ...times }), "9:50");
});

test("only what moves arrives", () => {
  assert.equal(arrival({ status: "running", eta_seconds: 10 }, 0).getTime(), 10000);
  assert.equal(arrival({ status: "finished", eta_seconds: null }), null);
  assert.equal(arrival({ status: "starting", eta_seconds: null }), null);
});

test("a sparkline spans as much of its box as the run has done", () => {
  const paths = sparkline({ step: [0, 50], train: [2, 1], val: [null, null] }, 100);
  assert.equal(paths.train, "M0.0 2.0L80.0 26.0");
  assert.equal(paths.val, "");
  assert.deepEqual(sparkline({}, 100), { train: "", val: "" });
});

test("a pointer finds its cell, and what is rare is still seen", () => {
  const box = { left: 10, top: 20, width: 100, height: 100 };
  assert.deepEqual(place({ clientX: 10, clientY: 20 }, box, 10), [0, 0]);
  assert.deepEqual(place({ clientX: 75, clientY: 42 }, box, 10), [2, 6]);
  assert.deepEqual(place({ clientX: 110, clientY: 500 }, box, 10), [9, 9]);
  assert.equal(shade(0), 0);
  assert.ok(shade(0.01) > 0.2 && shade(0.01) < shade(0.5) && shade(1) === 1);
});

test("a map is painted by its own largest change, and no noise is blown up", () => {
  assert.equal(peak([[0.1, -0.4], [0, 0.2]], 0.01), 0.4);
  assert.equal(peak([[0.001, 0]], 0.01), 0.01);
  assert.equal(strength(-0.4, 0.4), 0.8);
  assert.equal(strength(0, 0.4), 0);
});

test("recent predictions: the newest first, so many, and nothing from a broken store", () => {
  assert.deepEqual(withNewest([2, 1], 3, 2), [3, 2]);
  const entry = { time: 1, answers: [{ label: "a" }] };
  assert.deepEqual(parsed(JSON.stringify([entry, null, {}, { time: 2, answers: [] }])), [entry]);
  for (const text of [null, "", "{", "{}", "7"]) assert.deepEqual(parsed(text), []);
});
