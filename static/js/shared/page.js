// Runs on every page: theme, keyboard shortcuts, local times, confirmations, copy buttons.
import { ago, clock, clockSeconds } from "../lib/format.js";
import "./dialogs.js";
import "./print.js";

const root = document.documentElement;

for (const node of document.querySelectorAll("[data-without-script]")) node.hidden = true;
localizeTimes(document);
bindTheme();
bindKeyboard();
bindForms();
bindCopies();

export function localizeTimes(scope) {
  for (const node of scope.querySelectorAll("time[data-time]")) {
    const date = new Date(node.dateTime);
    node.textContent = node.dataset.time === "ago" ? ago((Date.now() - date) / 1000) : clock(date);
    node.title = date.toLocaleString();
  }
  for (const node of scope.querySelectorAll("time[data-log-time]")) {
    node.textContent = clockSeconds(new Date(1000 * Number(node.dateTime || node.getAttribute("datetime"))));
  }
}

/**
 * Shows a message for some seconds. With `undo`, a button beside it calls `act`; `after` is called instead once the
 * message is gone, or when it is closed or the page is left.
 * @param {{label: string, act: function(): void, seconds?: number, after?: function(): void}|null} undo
 */
export function toast(message, undo = null) {
  const node = document.createElement("p");
  node.className = "toast fade-in";
  node.textContent = message;
  const end = (then) => {
    if (!node.isConnected) return;
    node.remove();
    clearTimeout(timer);
    then?.();
  };
  let timer = 0;
  const wait = () => (timer = setTimeout(() => end(undo?.after), 1000 * (undo?.seconds ?? 6)));
  for (const kind of ["pointerenter", "focusin"]) node.addEventListener(kind, () => clearTimeout(timer));
  for (const kind of ["pointerleave", "focusout"]) node.addEventListener(kind, wait);
  wait();
  if (undo) {
    for (const [text, then] of [[undo.label, undo.act], ["Close", undo.after]]) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
      button.addEventListener("click", () => end(then));
      node.append(" ", button);
    }
    addEventListener("pagehide", () => end(undo.after));
  }
  document.querySelector("[data-toasts]").append(node);
}

function bindTheme() {
  const button = document.querySelector("[data-theme-toggle]");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const notify = () => dispatchEvent(new CustomEvent("themechange"));
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
    const next = dark ? "light" : "dark";
    if ((next === "dark") === system.matches) {
      delete root.dataset.theme;
      localStorage.removeItem("theme");
    } else {
      root.dataset.theme = next;
      localStorage.setItem("theme", next);
    }
    notify();
  });
  system.addEventListener("change", notify);
}

function bindKeyboard() {
  const help = document.querySelector("[data-help]");
  if (!help) return; // a shared page
  const button = document.querySelector("[data-help-button]");
  button.hidden = false;
  button.addEventListener("click", () => help.showModal());
  addEventListener("keydown", (event) => {
    if (event.key === "k" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      openPalette();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    const key = [...document.querySelectorAll("[data-key]")].find((node) => node.dataset.key === event.key && !node.closest("[hidden]"));
    const act = {
      "/": () => focusSearch(),
      n: () => document.querySelector("[data-new-run]").click(),
      "?": () => help.showModal(),
      j: () => moveRow(1),
      k: () => moveRow(-1),
    }[event.key] ?? (key && (() => press(key)));
    if (!act) return;
    event.preventDefault();
    act();
  });
  for (const button of document.querySelectorAll("[data-palette-button]")) button.addEventListener("click", openPalette);
}

async function openPalette() {
  (await import("./palette.js")).open();
}

/** A key follows a link, but only moves the focus to a button, which Enter then presses. */
function press(node) {
  if (node.matches("a")) node.click();
  else node.focus();
}

function focusSearch() {
  const field = document.querySelector("[data-search]");
  field?.focus();
  field?.select();
}

function moveRow(by) {
  const rows = [...document.querySelectorAll("[data-rows] a.name")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.closest("tr").contains(document.activeElement));
  rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))].focus();
}

function bindForms() {
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
    // A filter that is not set is left out of the URL.
    if (event.target.matches("[data-filter-form]")) {
      for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
    }
  });
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("[data-menu][open]")) {
      if (!menu.contains(event.target) || event.target.closest("a")) menu.open = false;
    }
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = document.querySelector("[data-menu][open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  addEventListener("pageshow", () => {
    for (const field of document.querySelectorAll("[data-filter-form] :disabled")) field.disabled = false;
  });
}

function bindCopies() {
  if (!navigator.clipboard) return;
  for (const box of document.querySelectorAll("[data-copyable]")) {
    const button = document.createElement("button");
    button.className = "button";
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(box.querySelector("pre").textContent.trim());
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    box.append(button);
  }
}
