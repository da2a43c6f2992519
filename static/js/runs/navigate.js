// Follows the links, the filters and the search of the list without leaving the page. What is replaced keeps the focus,
// the selection and the place of what is in view; the URL always reproduces what is shown.
import { localizeTimes, toast } from "../shared/page.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const TYPING_MS = 150;
const page = document.querySelector("[data-runs]");
const form = page.querySelector("[data-list-form]");
let latest = 0;
let typing = 0;
let asking = 0; // requests of the person, which news from the server do not overtake

if (form) bind();

/**
 * Shows the list of this URL. `only` names the parts that are replaced, all of them by default; `past` is what becomes
 * of the history: push, replace or nothing.
 */
export async function show(address, { past = "push", only = null } = {}) {
  const mine = ++latest;
  clearTimeout(typing);
  asking += 1;
  const { ok, status, body } = await request(address, { as: "text", quiet: true });
  asking -= 1;
  if (mine !== latest) return;
  if (past === "push") history.pushState(null, "", address);
  if (past === "replace") history.replaceState(null, "", address);
  if (!ok) return status === 422 ? showProblem(body.error.detail[0].message) : toast(body.error.message);
  showProblem("");
  const fresh = parsed(body);
  if (!only) syncFilters(fresh);
  replaceParts(fresh, only);
}

/** Fetches the list again, upon news from the server. */
export async function refresh() {
  const before = latest;
  const { ok, body } = await request(location.href, { as: "text", quiet: true });
  if (ok && before === latest && !asking) replaceParts(parsed(body), ["list", "count"]);
}

function parsed(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  localizeTimes(fresh);
  return fresh;
}

function bind() {
  page.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-soft]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    for (const menu of page.querySelectorAll("[data-menu][open]")) menu.open = false;
    const leaves = link.closest(".older");
    show(link.href).then(() => leaves && page.querySelector("[data-filters]").scrollIntoView());
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    event.stopPropagation();
    show(asked());
  });
  form.elements.q.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => show(asked(), { past: "replace" }), TYPING_MS);
  });
  form.elements.q.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.target.value) event.target.blur();
  });
  const toggle = form.querySelector("[data-filters-toggle]");
  toggle.addEventListener("click", () => toggle.setAttribute("aria-expanded", toggle.getAttribute("aria-expanded") !== "true"));
  addEventListener("popstate", () => show(location.href, { past: "none" }));
}

function asked() {
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  return `${root}/${query.size ? "?" : ""}${query}`;
}

function showProblem(text) {
  const node = page.querySelector("[data-search-problem]");
  node.textContent = text ? `The search cannot be read: ${text}.` : "";
  node.hidden = !text;
  form.elements.q.toggleAttribute("aria-invalid", Boolean(text));
  if (text) form.elements.q.setAttribute("aria-invalid", "true");
  page.toggleAttribute("data-unread", Boolean(text));
}

function syncFilters(fresh) {
  const theirs = fresh.querySelector("[data-list-form]");
  if (!theirs) return;
  for (const field of form.querySelectorAll("select")) {
    const other = theirs.elements[field.name];
    if (!other) continue;
    const { value } = other; // options that are moved one by one become selected
    field.replaceChildren(...other.childNodes);
    field.value = value;
  }
  const { q } = form.elements;
  if (document.activeElement !== q) q.value = theirs.elements.q.value;
}

function replaceParts(fresh, only) {
  const focused = page.contains(document.activeElement) ? addressOf(document.activeElement) : null;
  const anchor = firstInView();
  const across = page.querySelector(".table-box")?.scrollLeft ?? 0;
  for (const part of page.querySelectorAll("[data-swap]")) {
    const { swap } = part.dataset;
    const other = fresh.querySelector(`[data-swap="${swap}"]`);
    if (other && (!only || only.includes(swap))) part.replaceChildren(...other.childNodes);
  }
  const box = page.querySelector(".table-box");
  if (box) box.scrollLeft = across;
  const again = anchor && rowOf(anchor.id);
  if (again) scrollBy(0, again.getBoundingClientRect().top - anchor.top);
  if (focused && !page.contains(document.activeElement)) page.querySelector(focused)?.focus({ preventScroll: true });
  dispatchEvent(new CustomEvent("listchanged"));
}

export function rowOf(id) {
  return page.querySelector(`tr[data-run="${CSS.escape(id)}"]`);
}

/** The first row whose place should not change; none while the top of the page is in view. */
function firstInView() {
  if (scrollY < 1) return null;
  const row = [...page.querySelectorAll("tr[data-run]")].find((node) => node.getBoundingClientRect().top >= 0);
  return row ? { id: row.dataset.run, top: row.getBoundingClientRect().top } : null;
}

/** A selector of the element, or of the one that stands in its place after the replacement. */
function addressOf(node) {
  const near = node.closest("[data-run], [data-column], [data-id], [data-view-delete], .group-row");
  const parts = [];
  for (const name of ["run", "column", "id"]) if (near?.dataset[name]) parts.push(`[data-${name}="${CSS.escape(near.dataset[name])}"]`);
  const own = ["data-move", "data-star", "data-select", "data-select-all", "data-column-move", "data-column-remove", "title", "aria-label"].find((name) => node.hasAttribute(name));
  const value = own && node.getAttribute(own);
  parts.push(node.localName + (own ? `[${own}${value ? `="${CSS.escape(value)}"` : ""}]` : node.className ? `.${CSS.escape(node.classList[0])}` : ""));
  return parts.join(" ");
}
