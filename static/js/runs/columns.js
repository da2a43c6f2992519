// Chooses, resizes and reorders the columns of the list. The choice is kept in the URL, and per browser in a cookie,
// which the server reads where the URL has none.
import { root } from "../shared/root.js";
import { show } from "./navigate.js";

const COOKIE = "runs_columns";
const YEAR_SECONDS = 31_536_000;
const LEAST = 48;
const LEAST_NAME = 240;
const MOST = 800;

const page = document.querySelector("[data-runs]");
const dialog = page.querySelector("[data-columns]");
let dragged = null;

export function bindColumns() {
  const button = page.querySelector("[data-columns-open]");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => dialog.showModal());
  bindDialog();
  bindDragging();
  addEventListener("listchanged", prepareHeader);
  prepareHeader();
}

/** The chosen columns in their order, after the name, with their widths as they are drawn now. */
function columns() {
  const ids = ["name", ...[...dialog.querySelectorAll("[data-id]")].map((item) => item.dataset.id)];
  return ids.map((id) => ({ id, width: Number(colOf(id)?.getAttribute("width")) }));
}

function colOf(id) {
  return page.querySelector(`col[data-width="${CSS.escape(id)}"]`);
}

function choose(chosen) {
  const text = chosen.map(({ id, width }) => (width ? `${id}~${width}` : id)).join(",");
  keep(text);
  const address = new URL(location.href);
  address.searchParams.set("cols", text);
  return show(address.href, { past: "replace" });
}

function keep(text) {
  document.cookie = `${COOKIE}=${encodeURIComponent(text)}; path=${root}/; max-age=${text ? YEAR_SECONDS : 0}; samesite=lax`;
}

function bindDialog() {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    const { id } = event.target.closest("[data-id]")?.dataset ?? {};
    const step = event.target.closest("[data-column-move]")?.dataset.columnMove;
    if (step) choose(movedBy(columns(), id, Number(step)));
    if (event.target.closest("[data-column-remove]")) choose(columns().filter((column) => column.id !== id));
    if (event.target.closest("[data-columns-reset]")) reset();
  });
  dialog.addEventListener("change", (event) => {
    const { id } = event.target.closest("[data-id]")?.dataset ?? {};
    if (id) choose(columns().map((column) => (column.id === id ? { id, width: clamp(event.target.value, LEAST) } : column)));
  });
  dialog.querySelector("[data-columns-add]").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = event.target.querySelector("input");
    choose([...columns(), { id: field.value.trim() }]);
    field.value = "";
  });
}

function reset() {
  keep("");
  const address = new URL(location.href);
  address.searchParams.delete("cols");
  show(address.href, { past: "replace" });
}

function movedBy(all, id, step) {
  const from = all.findIndex((column) => column.id === id);
  const to = Math.min(all.length - 1, Math.max(1, from + step));
  all.splice(to, 0, ...all.splice(from, 1));
  return all;
}

function clamp(width, least) {
  return Math.min(MOST, Math.max(least, Math.round(Number(width)) || least));
}

/** Gives the header its handles, and the URL the columns that came from the cookie. */
function prepareHeader() {
  for (const cell of page.querySelectorAll("thead th[data-column]")) {
    if (cell.dataset.column !== "name") cell.draggable = true;
    for (const link of cell.querySelectorAll("a")) link.draggable = false;
    const handle = document.createElement("span");
    handle.className = "resize";
    handle.draggable = false;
    cell.append(handle);
  }
  const table = page.querySelector("[data-cols]");
  const address = new URL(location.href);
  if (!table || table.matches("[data-default-columns]") || address.searchParams.has("cols")) return;
  address.searchParams.set("cols", table.dataset.cols);
  history.replaceState(null, "", address);
}

function bindDragging() {
  page.addEventListener("pointerdown", (event) => {
    if (event.target.matches(".resize")) resize(event);
  });
  page.addEventListener("dragstart", (event) => {
    const cell = event.target.closest?.("thead th[draggable]");
    if (!cell || page.querySelector(".resize[data-dragged]")) return event.target.closest?.("thead") && event.preventDefault();
    dragged = cell.dataset.column;
    event.dataTransfer.effectAllowed = "move";
  });
  page.addEventListener("dragover", (event) => {
    const cell = event.target.closest?.("thead th[draggable]");
    if (!dragged || !cell) return;
    event.preventDefault();
    markDrop(cell);
  });
  page.addEventListener("drop", (event) => {
    const cell = event.target.closest?.("thead th[draggable]");
    if (!dragged || !cell || cell.dataset.column === dragged) return;
    event.preventDefault();
    const all = columns();
    const [column] = all.splice(all.findIndex(({ id }) => id === dragged), 1);
    all.splice(all.findIndex(({ id }) => id === cell.dataset.column), 0, column);
    choose(all);
  });
  page.addEventListener("dragend", () => {
    dragged = null;
    markDrop(null);
  });
}

function markDrop(cell) {
  for (const other of page.querySelectorAll("th[data-drop]")) delete other.dataset.drop;
  if (cell) cell.dataset.drop = "";
}

function resize(event) {
  event.preventDefault();
  const handle = event.target;
  const { column } = handle.closest("[data-column]").dataset;
  const col = colOf(column);
  const start = { x: event.clientX, width: handle.closest("th").getBoundingClientRect().width };
  handle.setPointerCapture(event.pointerId);
  handle.dataset.dragged = "";
  const move = ({ clientX }) => col.setAttribute("width", clamp(start.width + clientX - start.x, column === "name" ? LEAST_NAME : LEAST));
  handle.addEventListener("pointermove", move);
  handle.addEventListener("lostpointercapture", () => {
    handle.removeEventListener("pointermove", move);
    delete handle.dataset.dragged;
    choose(columns());
  }, { once: true });
}
