// The selection in the list of runs, and the bulk actions. A replaced row keeps its selection.
import { toast } from "../shared/page.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const UNDO_SECONDS = 8;
const INVERSE = { tag: "untag", untag: "tag" };
const DONE = { stop: "stopped", resume: "queued again", clone: "launched again", star: "starred", tag: "tagged", untag: "untagged", move: "moved" };

const page = document.querySelector("[data-runs]");
const bar = page.querySelector("[data-bulk]");
const chosen = new Set();
const leaving = new Set(); // deleted, but for the time in which that can be undone
let last = null;

bind();

/** Restores the checkbox of a replaced row, and hides the row of a run that is being deleted. */
export function restoreSelection(row) {
  row.querySelector("[data-select]").checked = chosen.has(row.dataset.run);
  row.hidden = leaving.has(row.dataset.run);
}

function boxes(within = page) {
  return [...within.querySelectorAll("tr:not([hidden]) [data-select]")];
}

function bind() {
  page.addEventListener("click", (event) => {
    if (!event.target.matches("[data-select]")) return;
    const all = boxes();
    const at = all.indexOf(event.target);
    if (event.shiftKey && last !== null) {
      const [from, to] = [Math.min(at, last), Math.max(at, last)];
      for (const box of all.slice(from, to + 1)) box.checked = event.target.checked;
    }
    last = at;
    read();
  });
  page.addEventListener("change", ({ target }) => {
    if (target.matches("[data-select-all], [data-select-group]")) tickAll(target);
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input:not([type=checkbox]), textarea, select, dialog, [data-menu][open]")) return;
    if (event.key === "Escape" && document.querySelector("[data-menu][open]")) return;
    if (event.key === "Escape" && chosen.size) clear();
    if (event.key !== "x") return;
    const box = document.activeElement.closest?.("tr[data-run]")?.querySelector("[data-select]");
    if (!box) return;
    box.checked = !box.checked;
    read();
  }, true); // before an open menu is closed, which is all that Esc does then
  bar.querySelector("[data-bulk-clear]").addEventListener("click", clear);
  const form = page.querySelector("[data-bulk-tag]"); // its dialog closes upon submission
  form.addEventListener("submit", () => act("tag", null, { tag: form.elements.tag.value }));
  form.querySelector("[data-untag]").addEventListener("click", () => {
    if (!form.reportValidity()) return;
    form.closest("dialog").close();
    act("untag", null, { tag: form.elements.tag.value });
  });
  for (const button of bar.querySelectorAll("[data-bulk-action]")) {
    button.addEventListener("click", () => {
      const { bulkAction: action } = button.dataset;
      bar.querySelector("[data-menu]").open = false;
      if (action === "delete") remove([...chosen]);
      else if (action === "first" || action === "last") act("move", button, { to: action });
      else act(action, button);
    });
  }
  addEventListener("listchanged", () => {
    for (const row of page.querySelectorAll("tr[data-run]")) restoreSelection(row);
    read();
  });
  // Boxes may have been ticked before this script was loaded, or by a browser that restores them.
  const ticked = page.querySelectorAll("[data-select-all]:checked, [data-select-group]:checked");
  if (ticked.length) ticked.forEach(tickAll);
  else read();
}

function tickAll(master) {
  const within = master.matches("[data-select-all]") ? page : master.closest("tbody");
  for (const box of boxes(within)) box.checked = master.checked;
  read();
}

/** Only runs that are shown are selected: nobody acts on what they do not see. */
function read() {
  chosen.clear();
  const statuses = new Set();
  for (const box of boxes()) {
    if (!box.checked) continue;
    const { run, runStatus } = box.closest("tr").dataset;
    chosen.add(run);
    statuses.add(runStatus);
  }
  for (const button of bar.querySelectorAll("[data-bulk-for]")) {
    button.hidden = !button.dataset.bulkFor.split(" ").some((status) => statuses.has(status));
  }
  bar.hidden = chosen.size === 0;
  bar.querySelector("[data-bulk-count]").textContent = `${chosen.size} selected`;
  const tooMany = chosen.size > Number(bar.dataset.mostCompared);
  bar.querySelector("[data-bulk-too-many]").hidden = !tooMany;
  const compare = bar.querySelector("[data-bulk-compare]");
  compare.toggleAttribute("aria-disabled", tooMany);
  if (tooMany) compare.removeAttribute("href");
  else compare.href = `${root}/compare?runs=${[...chosen].join(",")}`;
}

function clear() {
  for (const box of page.querySelectorAll("[data-select], [data-select-all], [data-select-group]")) box.checked = false;
  read();
}

async function act(action, button, more = {}) {
  const results = await send({ ids: [...chosen], action, ...more }, button);
  if (!results) return;
  const changed = results.filter((item) => item.changed).map((item) => item.id);
  const undo = { label: "Undo", act: () => send({ ids: changed, action: INVERSE[action], ...more }) };
  if (changed.length) toast(`${counted(changed.length)} ${DONE[action]}${more.tag ? ` ${more.tag}` : ""}.`, action in INVERSE ? undo : null);
}

async function send(json, button = null) {
  const { ok, body } = await request(`${root}/api/runs/bulk`, { method: "POST", json, button });
  if (!ok) return null;
  const refused = body.results.filter((item) => !item.done);
  if (refused.length) toast(`${refused.length} of ${body.results.length} refused: ${refused[0].reason}`);
  dispatchEvent(new CustomEvent("runschanged", { detail: body.results.map((item) => item.id) }));
  return body.results;
}

/** Hides the runs, and deletes them when it is too late to undo that: a deleted run cannot be brought back. */
function remove(ids) {
  setLeaving(ids, true);
  clear();
  const text = `${counted(ids.length)} deleted, with curves and checkpoints.`;
  toast(text, { label: "Undo", act: () => setLeaving(ids, false), seconds: UNDO_SECONDS, after: () => destroy(ids) });
}

async function destroy(ids) {
  const { ok, body } = await request(`${root}/api/runs/bulk`, { method: "POST", json: { ids, action: "delete" }, keepalive: true });
  const refused = ok ? body.results.filter((item) => !item.done) : ids.map((id) => ({ id }));
  setLeaving(refused.map((item) => item.id), false);
  if (ok && refused.length) toast(`${refused.length} of ${ids.length} not deleted: ${refused[0].reason}`);
}

function setLeaving(ids, isLeaving) {
  for (const id of ids) {
    if (isLeaving) leaving.add(id);
    else leaving.delete(id);
    const row = page.querySelector(`tr[data-run="${CSS.escape(id)}"]`);
    if (row) row.hidden = isLeaving;
  }
}

function counted(count) {
  return `${count} run${count === 1 ? "" : "s"}`;
}
