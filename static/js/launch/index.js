// The launch form's live preview. Without this script the form still works.
import { about, clock, count, duration, number, setting } from "../lib/format.js";
import { nudge } from "../lib/steps125.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";
import "./networks.js";
import { show as showSettings } from "./settings.js";

const TRIALS = "30"; // of a search without a number
const PAUSE = 150;
const WIDTH = 320;
const HEIGHT = 96;

const form = document.querySelector("[data-launch]");
const rows = [...form.querySelectorAll("[data-setting]")];
let timer = 0;
let lastRequest = 0;

form.addEventListener("change", (event) => {
  if (event.target.name === "dataset") showDataset();
  if (event.target.name === "preset") showPreset();
  refresh();
});
form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(refresh, PAUSE);
});
form.addEventListener("submit", () => {
  form.querySelector("[data-launch-button]").disabled = true;
});
addEventListener("pageshow", () => {
  form.querySelector("[data-launch-button]").disabled = false;
  showDataset();
  showPreset();
  refresh();
  const wrong = form.querySelector("[data-errors]") && form.querySelector("[aria-invalid=true]");
  if (wrong) {
    wrong.closest("details")?.setAttribute("open", "");
    wrong.focus();
  }
});
for (const link of form.querySelectorAll("[data-sets]")) link.addEventListener("click", applyNote);
for (const field of form.querySelectorAll("[data-steps-125]")) field.addEventListener("keydown", step);

/** Sets the field that a note on the dataset names. Without this script its link loads the form with the value. */
function applyNote(event) {
  event.preventDefault();
  const field = fieldOf(event.currentTarget.dataset.sets);
  field.value = event.currentTarget.dataset.value;
  field.closest("details")?.setAttribute("open", "");
  field.dispatchEvent(new Event("change", { bubbles: true }));
  field.focus();
}

/** The arrow keys move the value along the 1–2–5 series, starting from the preset's value if the field is empty. */
function step(event) {
  const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  const text = event.target.value || event.target.placeholder;
  const value = Number(text);
  if (!direction || text === "" || !Number.isFinite(value)) return;
  event.preventDefault();
  const whole = Number.isInteger(value) && !/lr|decay|dropout|fraction|smoothing|momentum|minutes|ema|mix|factor|final|peak|clip/.test(event.target.name);
  event.target.value = number(nudge(value, direction, { whole }));
  event.target.dispatchEvent(new Event("input", { bubbles: true }));
}

function showDataset() {
  const chosen = form.querySelector('input[name="dataset"]:checked')?.dataset.shows;
  for (const box of form.querySelectorAll("[data-shown-by]")) box.hidden = box.dataset.shownBy !== chosen;
  showValidation();
}

/** A dataset with its own validation split holds nothing out: the settings are locked. */
function showValidation() {
  const own = form.querySelector('input[name="dataset"]:checked')?.dataset.ownValidation;
  for (const name of ["val_fraction", "val_folds", "val_fold"]) {
    const why = form.querySelector(`[data-setting="${name}"] .why`);
    why.dataset.text ??= why.textContent;
    why.textContent = own ? `Not used: this dataset has its own validation split of ${own} image${own === "1" ? "" : "s"}.` : why.dataset.text;
    fieldOf(name).disabled = own !== undefined;
  }
}

function showPreset() {
  const chosen = form.querySelector('input[name="preset"]:checked');
  const values = JSON.parse(chosen.dataset.values);
  for (const row of rows) {
    const field = row.querySelector("[name]");
    const value = values[row.dataset.setting];
    if (field.matches("select")) field.querySelector("[data-usual]").textContent = `${value.replaceAll("_", "-")} (preset)`;
    else field.placeholder = value;
  }
  for (const about of form.querySelectorAll("[data-about]")) about.hidden = about.dataset.about !== chosen.value;
  const title = form.querySelector("[data-preset-title]");
  if (title) title.textContent = chosen.closest("label").querySelector("b").textContent;
}

/** The non-empty texts by setting; the server parses them like the form. */
function typed() {
  const texts = {};
  for (const row of rows) {
    const { name, value } = row.querySelector("[name]");
    row.classList.toggle("changed", value.trim() !== "");
    if (value.trim() !== "" && !fieldOf(name).disabled) texts[name] = value.trim();
  }
  return texts;
}

async function refresh() {
  const texts = typed();
  showSettings();
  const data = new FormData(form);
  if (!data.get("dataset") || !data.get("preset")) return;
  const varying = Object.entries(texts).find(([name, text]) => text.includes("..") || text.includes("list" in fieldOf(name).dataset ? ";" : ","));
  const varies = varying !== undefined;
  showDraw(varying?.[0]);
  const query = new URLSearchParams({ dataset: data.get("dataset"), preset: data.get("preset"), typed: JSON.stringify(texts) });
  const images = `${root}/api/preview/images.png?${query}`;
  const draw = data.get("draw").trim() || (data.get("how") === "search" ? TRIALS : "");
  if (varies && draw) query.set("draw", draw);
  lastRequest += 1;
  form.querySelector(".panel").ariaBusy = "true";
  const latest = lastRequest;
  const { ok, body } = await request(`${root}/api/preview?${query}`, { quiet: true });
  if (latest !== lastRequest) return;
  form.querySelector(".panel").ariaBusy = String(!ok); // what it shows is not of these settings
  showErrors(ok ? null : body.error);
  if (ok) show(body, texts);
  else showNoCost();
  if (ok) showImages(images);
}

/** Below the first setting that has several values, the number of random samples. */
function showDraw(name) {
  const draw = form.querySelector("[data-draw]");
  draw.hidden = name === undefined;
  const row = draw.hidden ? null : fieldOf(name).closest("[data-setting]");
  if (row && row.nextElementSibling !== draw && !draw.contains(document.activeElement)) row.after(draw);
}

function fieldOf(name) {
  return form.querySelector(`[data-setting="${CSS.escape(name)}"] [name]`);
}

function labelOf(name) {
  return fieldOf(name).closest("[data-setting]").querySelector("label").textContent;
}

function show(preview, texts) {
  for (const node of form.querySelectorAll("[data-needs]")) node.hidden = preview[node.dataset.needs] == null;
  for (const node of form.querySelectorAll("[data-preview]")) {
    const value = preview[node.dataset.preview];
    node.textContent = value == null ? "–" : node.dataset.preview === "flops" ? millions(value) : count(value);
  }
  form.querySelector("[data-name]").placeholder = preview.name ?? "generated from the changes";
  form.querySelector("[data-validation]").textContent = preview.validation;
  showCost(preview);
  showChanges(preview.changed, preview.runs > 1 ? texts : {});
  showRate(preview);
}

function millions(value) {
  return `${number(Number((value / 1e6).toPrecision(3)))} M`;
}

const BASES = { set: "(budget)", measured: "(measured)", estimated: "(estimated)" };

function showCost({ runs, seconds, basis, memory, ahead, wait_seconds: wait, lacking }) {
  form.querySelector("[data-launch-button]").textContent = runs > 1 ? `Launch ${runs} runs` : "Launch";
  if (memory != null) form.querySelector("[data-memory]").textContent = `about ${(memory / 1e9).toFixed(1)} GB`;
  form.querySelector("[data-time-label]").textContent = runs > 1 ? "time per run" : "time";
  if (seconds != null) form.querySelector("[data-time]").textContent = `${basis === "estimated" ? about(seconds) : duration(seconds)} ${BASES[basis]}`;
  form.querySelector("[data-when]").textContent = lacking ? `It stays queued for now: it ${lacking}.` : whenDone(runs, seconds, ahead, wait);
}

/** What an error leaves open: neither how many runs there are nor when they are done. */
function showNoCost() {
  form.querySelector("[data-launch-button]").textContent = "Launch";
  form.querySelector("[data-when]").textContent = "";
}

/** The sentence below the button: what is queued first, and when the runs are done. */
function whenDone(runs, seconds, ahead, wait) {
  const first = ahead ? `${ahead} run${ahead === 1 ? "" : "s"} first${wait ? `, about ${duration(wait)}` : ""}. ` : "";
  if (seconds == null || (ahead && wait == null)) {
    return first + (runs > 1 ? `The ${runs} runs are queued as one group.` : ahead ? "Then this run starts." : "Starts when a device is free.");
  }
  const done = clock(new Date(Date.now() + 1000 * (seconds * runs + (wait ?? 0))));
  return `${first}${runs > 1 ? `${duration(seconds * runs)} in all, done` : "Done"} at about ${done}.`;
}

function showImages(address) {
  const image = form.querySelector("[data-augmented]");
  if (image.dataset.address === address) return;
  image.dataset.address = address;
  image.onload = () => { form.querySelector("[data-augmented-box]").hidden = false; };
  image.onerror = () => { form.querySelector("[data-augmented-box]").hidden = true; };
  image.src = address;
}

/** Of several runs, the server names the changes of the first; a setting with several values shows them all. */
function showChanges(changed, texts) {
  const list = form.querySelector("[data-changes]");
  if (!changed.length) {
    list.replaceChildren(Object.assign(document.createElement("li"), { className: "sub", textContent: "nothing" }));
    return;
  }
  list.replaceChildren(
    ...changed.map(({ field, from, to }) => {
      const item = document.createElement("li");
      const name = Object.assign(document.createElement("span"), { textContent: labelOf(field) });
      item.append(name, Object.assign(document.createElement("b"), { textContent: `${setting(from)} → ${texts[field]?.replace(/\s*([,;])\s*/g, "$1 ") ?? setting(to)}` }));
      return item;
    }),
  );
}

function showRate({ lr, total_steps: total, epochs, steps_per_epoch: perEpoch, minutes }) {
  const top = Math.max(...lr.value) * 1.08 || 1;
  const last = Math.max(1, total - 1);
  const points = lr.step.map((step, index) => [(WIDTH * step) / last, HEIGHT * (1 - lr.value[index] / top)]);
  if (points.length === 1) points.push([WIDTH, points[0][1]]);
  const path = points.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  form.querySelector("[data-rate-path]").setAttribute("d", path);
  form.querySelector("[data-rate-top]").textContent = number(Number(Math.max(...lr.value).toPrecision(3)));
  form.querySelector("[data-rate-end]").textContent = minutes ? `${number(minutes)} minute${minutes === 1 ? "" : "s"}` : total >= 2 * perEpoch ? `${count(epochs)} epochs` : `${count(total)} steps`;
}

function showErrors(error) {
  const faults = new Map();
  for (const { field, message } of Array.isArray(error?.detail) ? error.detail : []) {
    faults.set(String(field).replace(/^overrides\./, ""), message);
  }
  for (const row of rows) {
    const message = faults.get(row.dataset.setting) ?? "";
    faults.delete(row.dataset.setting);
    const field = row.querySelector("[name]");
    const note = row.querySelector("[data-error-for]");
    note.textContent = message;
    note.hidden = message === "";
    if (message) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    if (message) row.closest("details")?.setAttribute("open", "");
  }
  const rest = form.querySelector("[data-preview-error]");
  rest.hidden = !error || (faults.size === 0 && Array.isArray(error.detail));
  rest.textContent = rest.hidden ? "" : [...faults.values()].join("; ") || error.message;
}
