import assert from "node:assert/strict";
import { test } from "node:test";

import { arranged, groups, scriptGroups } from "../../static/js/lib/chart_groups.js";
import { defaults, fromAddress, intoAddress } from "../../static/js/lib/curve_state.js";

test("what is chosen comes back from the address, and the defaults leave none", () => {
  const state = {
    ...defaults(), x: "relative", smooth: 0.5, zoom: [1.25, 3], y: { "val/acc5": [-1e-5, 2] },
    log: ["loss"], whole: ["accuracy"], hide: ["lr"], pin: ["val/acc5"], order: ["loss", "lr"], open: ["val"],
  };
  const address = intoAddress(new URL("http://host/runs/1?tab=curves"), state);
  assert.deepEqual(fromAddress(address.search, { smooth: 0.1 }), state);
  assert.equal(intoAddress(new URL("http://host/runs/1"), defaults()).search, "");
});

test("an address without a word about it leaves what the browser kept, but no zoom", () => {
  const kept = { ...defaults(), smooth: 0.3, zoom: [1, 2], log: ["loss"] };
  assert.deepEqual(fromAddress("?tab=curves", kept), { ...kept, zoom: null });
  assert.deepEqual(fromAddress("?smooth=0", kept), { ...defaults(), smooth: 0 });
});

test("nonsense is ignored, and the zoom of an older link is understood", () => {
  for (const kept of [null, 7, "x", { smooth: "much", log: "loss", x: "miles" }]) assert.deepEqual(fromAddress("", kept), defaults());
  assert.deepEqual(fromAddress("?x=miles&smooth=7&zoom=3..1&y=a,b~c", null), defaults());
  assert.deepEqual(fromAddress("?x=0.5-1.75", null), { ...defaults(), zoom: [0.5, 1.75] });
});

test("series that no chart at the top shows are grouped by prefix; training and validation share a chart", () => {
  const found = groups(["train/loss", "lr", "val/loss", "val/flips", "train/aux", "val/aux", "memory"]);
  assert.deepEqual(found.map(({ prefix, charts }) => [prefix, charts.map(({ id, val }) => [id, val])]), [
    ["other", [["memory", undefined]]],
    ["train", [["train/aux", "val/aux"]]],
    ["val", [["val/flips", undefined]]],
  ]);
});

test("pinned charts are first, then the chosen order, then the usual one", () => {
  const ids = ["a", "b", "c", "d"];
  assert.deepEqual(arranged(ids, { pin: ["d", "c"], order: [] }), ["d", "c", "a", "b"]);
  assert.deepEqual(arranged(ids, { pin: [], order: ["c", "x", "a"] }), ["c", "a", "b", "d"]);
});

test("the groups of a script run: losses first, the machine last, and every series has a chart", () => {
  const found = scriptGroups(["system/cpu", "a/x", "loss", "val/loss", "train/loss", "lr", "val/f1"]);
  assert.deepEqual(found.map(({ prefix, charts }) => [prefix, charts.map(({ train, val }) => (val ? [train, val] : [train]))]), [
    ["train", [["train/loss", "val/loss"]]],
    ["val", [["val/f1"]]],
    ["other", [["loss"], ["lr"]]],
    ["a", [["a/x"]]],
    ["system", [["system/cpu"]]],
  ]);
});
