// The command palette: pages, actions of this page, and runs, found as one types.
import { request } from "./request.js";
import { root } from "./root.js";

const PAUSE = 120;
const RUNS = 8;
const PAGES = [
  ["Runs", ""],
  ["New run", "runs/new"],
  ["Results", "results"],
  ["Reports", "reports"],
  ["Searches", "searches"],
  ["Data", "datasets"],
  ["Predict", "predict"],
  ["Models", "models"],
  ["System", "system"],
  ["Alerts", "alerts"],
  ["Share links", "shares"],
  ["Tokens and sign-out", "tokens"],
  ["API reference", "docs"],
];

const dialog = document.createElement("dialog");
dialog.className = "palette";
dialog.setAttribute("aria-label", "Command palette");
dialog.innerHTML = `<input class="input" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-autocomplete="list"
  aria-label="Go to a page or a run, or do something" placeholder="Go to a page or a run…" autocomplete="off" spellcheck="false">
  <ul id="palette-list" role="listbox" aria-label="Results"></ul>`;
document.body.append(dialog);
const input = dialog.querySelector("input");
const list = dialog.querySelector("ul");
let items = [];
let chosen = 0;
let timer = 0;
let latest = 0;

input.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, PAUSE);
});
input.addEventListener("keydown", (event) => {
  const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (move && items.length) choose((chosen + move + items.length) % items.length);
  if (event.key === "Enter" && items[chosen]) run(items[chosen]);
  if (move || event.key === "Enter") event.preventDefault();
});
list.addEventListener("click", (event) => {
  const row = event.target.closest("li");
  if (row) run(items[[...list.children].indexOf(row)]);
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

export function open() {
  input.value = "";
  show(matching(""));
  dialog.showModal();
  input.focus();
  search();
}

/** Every link and button of this page that has a name for the palette. */
function actions() {
  return [...document.querySelectorAll("[data-command]")]
    .filter((node) => node.isConnected && !node.closest("[hidden]"))
    .map((node) => ({ label: node.dataset.command, kind: "this page", act: () => node.click() }));
}

function matching(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const pages = PAGES.map(([label, path]) => ({ label, kind: "page", address: `${root}/${path}` }));
  return [...actions(), ...pages].filter(({ label }) => words.every((word) => label.toLowerCase().includes(word)));
}

async function search() {
  const text = input.value.trim();
  const known = matching(text);
  latest += 1;
  const number = latest;
  show(known);
  const { ok, body } = await request(`${root}/api/runs?${new URLSearchParams({ q: text, limit: RUNS })}`, { quiet: true });
  if (number !== latest || !ok) return;
  const runs = body.items.map((run) => ({ label: run.name, kind: run.status, address: `${root}/runs/${run.id}` }));
  show([...known, ...runs]);
}

function show(found) {
  items = found;
  list.replaceChildren(
    ...items.map(({ label, kind }, index) => {
      const row = document.createElement("li");
      row.id = `palette-${index}`;
      row.setAttribute("role", "option");
      const name = Object.assign(document.createElement("span"), { textContent: label });
      row.append(name, Object.assign(document.createElement("small"), { textContent: kind }));
      return row;
    }),
  );
  if (!items.length) list.replaceChildren(Object.assign(document.createElement("li"), { className: "sub", textContent: "Nothing matches." }));
  choose(0);
}

function choose(index) {
  chosen = index;
  for (const [at, row] of [...list.children].entries()) row.setAttribute("aria-selected", String(at === index));
  list.children[index]?.scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", items.length ? `palette-${index}` : "");
}

function run({ address, act }) {
  dialog.close();
  if (address) location.assign(address);
  else act();
}
