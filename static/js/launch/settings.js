// The rows of settings: those without effect are hidden, and a search shows the ones that match.
const rows = [...document.querySelectorAll("[data-setting]")];
const box = document.querySelector("[data-find-box]");
const field = box.querySelector("[data-find]");
const wasOpen = new Map();

box.hidden = false;
field.addEventListener("input", show);
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter") event.preventDefault(); // it would launch
  if (event.key !== "Escape" || !field.value) return;
  field.value = "";
  show();
});

/** The value that a setting has: what is typed, else the preset's. */
function valueOf(name) {
  const input = document.querySelector(`[data-setting="${CSS.escape(name)}"] [name]`);
  const text = input.value.trim() || input.placeholder || input.querySelector?.("[data-usual]")?.textContent.replace(/ \(preset\)$/, "") || "";
  return { yes: "true", no: "false" }[text] ?? text.replaceAll("-", "_");
}

function hasEffect(row) {
  const { needsField, needsValues } = row.dataset;
  if (!needsField) return true;
  const input = row.querySelector("[name]");
  if (input.value.trim() || input.getAttribute("aria-invalid")) return true; // what was typed never vanishes
  const value = valueOf(needsField);
  if (value.includes(",") || value.includes("..")) return true; // several values are tried
  return needsValues.startsWith("!") ? value !== needsValues.slice(1) : needsValues.split(" ").includes(value);
}

/** Shows the rows that have an effect and match the search. */
export function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (row) => {
    const text = `${row.dataset.setting} ${row.querySelector("label").textContent} ${row.querySelector(".why").textContent}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
  let found = 0;
  for (const row of rows) {
    row.hidden = words.length ? !matches(row) : !hasEffect(row);
    if (!row.hidden) found += 1;
  }
  for (const group of document.querySelectorAll("[data-group]")) {
    const some = [...group.querySelectorAll("[data-setting]")].some((row) => !row.hidden);
    group.hidden = !some;
    if (words.length && !wasOpen.has(group)) wasOpen.set(group, group.open);
    if (words.length) group.open = some;
    else if (wasOpen.has(group)) group.open = wasOpen.get(group);
  }
  if (!words.length) wasOpen.clear();
  box.querySelector("[data-found]").textContent = !words.length ? "" : found ? `${found} of ${rows.length} settings` : "no setting matches";
}
