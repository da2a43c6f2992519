// The selection in the list of runs, and the bulk actions. A replaced row keeps its selection.
import { toast } from "../shared/page.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const list = document.querySelector("[data-runs]");
const bar = document.querySelector("[data-bulk]");
const chosen = new Set();
let last = null;

if (bar) bind();

/** Restores the checkbox of a replaced row. */
export function restoreSelection(row) {
  const box = row.querySelector("[data-select]");
  if (box) box.checked = chosen.has(row.dataset.run);
}

function bind() {
  list.addEventListener("click", (event) => {
    if (!event.target.matches("[data-select]")) return;
    const boxes = [...list.querySelectorAll("[data-select]")];
    const at = boxes.indexOf(event.target);
    if (event.shiftKey && last !== null) {
      const [from, to] = [Math.min(at, last), Math.max(at, last)];
      for (const box of boxes.slice(from, to + 1)) box.checked = event.target.checked;
    }
    last = at;
    read();
  });
  const all = list.querySelector("[data-select-all]");
  all.addEventListener("change", () => tickAll(all.checked));
  addEventListener("keydown", (event) => {
    if (event.key !== "x" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input:not([type=checkbox]), textarea, select")) return;
    const box = document.activeElement.closest?.("tr[data-run]")?.querySelector("[data-select]");
    if (!box) return;
    box.checked = !box.checked;
    read();
  });
  bar.querySelector("[data-bulk-clear]").addEventListener("click", clear);
  bar.querySelector("[data-bulk-tag]").addEventListener("submit", (event) => {
    event.preventDefault();
    act("tag", event.submitter, new FormData(event.target).get("tag"));
  });
  for (const button of bar.querySelectorAll("[data-bulk-action]")) {
    button.addEventListener("click", () => {
      const count = chosen.size;
      const asked = `Delete ${count} run${count === 1 ? "" : "s"}, with curves and checkpoints, for good?`;
      if (button.dataset.bulkAction !== "delete" || confirm(asked)) act(button.dataset.bulkAction, button);
    });
  }
  // Boxes may have been ticked before this script was loaded, or by a browser that restores them.
  if (all.checked) tickAll(true);
  else read();
}

function tickAll(checked) {
  for (const box of list.querySelectorAll("[data-select]")) box.checked = checked;
  read();
}

function read() {
  for (const box of list.querySelectorAll("[data-select]")) {
    const { run } = box.closest("tr").dataset;
    if (box.checked) chosen.add(run);
    else chosen.delete(run);
  }
  show();
}

function show() {
  bar.hidden = chosen.size === 0;
  bar.querySelector("[data-bulk-count]").textContent = `${chosen.size} selected`;
  bar.querySelector("[data-bulk-compare]").href = `${root}/compare?runs=${[...chosen].join(",")}`;
}

function clear() {
  chosen.clear();
  for (const box of list.querySelectorAll("[data-select], [data-select-all]")) box.checked = false;
  show();
}

async function act(action, button, tag) {
  const json = { ids: [...chosen], action, ...(tag ? { tag } : {}) };
  const { ok, body: answer } = await request(`${root}/api/runs/bulk`, { method: "POST", json, button });
  if (!ok) return;
  const refused = answer.results.filter((item) => !item.done);
  if (refused.length) toast(`${refused.length} of ${answer.results.length} refused: ${refused[0].reason}`);
  dispatchEvent(new CustomEvent("runschanged", { detail: answer.results.map((item) => item.id) }));
  if (action === "delete") clear();
}
