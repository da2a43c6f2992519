// The comparison page: one live line per run. The tables below the chart are fetched again when a run's status or best
// step changes.
import { follow } from "../shared/live.js";
import { beginning, roleOf } from "../lib/overlay.js";
import { Series } from "../lib/series.js";
import { AXES, kindOf, placed, RunSeries } from "./lines.js";
import { OverlayChart } from "./overlay_chart.js";
import { drawParallel, lightParallel } from "../chart/parallel.js";
import { localizeTimes } from "../shared/page.js";
import { request } from "../shared/request.js";
import { palette, ROLES } from "../chart/palette.js";
import { root } from "../shared/root.js";

const TABLES_DELAY_MS = 1500;
const FIRST_SHARE = 0.02;

const page = document.querySelector("[data-compare]");
const tables = document.querySelector("[data-tables]");
const NAMES = JSON.parse(page.dataset.names); // fetched for every run; others when they are chosen
const chosen = new URLSearchParams(location.search);
const runs = [...page.querySelectorAll("[data-run]")].map((node) => ({
  node, id: node.dataset.run, slot: Number(node.dataset.slot), output: node.querySelector("[data-value]"),
  points: new RunSeries(node.dataset.run, NAMES),
  line: { name: node.dataset.name, label: node.dataset.label, slot: Number(node.dataset.slot), x: [], value: [], best: null, lastStep: -1 },
}));
const view = {
  name: "runs compared",
  series: page.dataset.shownSeries,
  axis: page.dataset.shownX,
  lines: runs.map((run) => run.line),
  kind: () => kindOf(view.series),
  resumes: [], checkpoints: [], best: null, note: "",
  zoom: zoomFromAddress(), begin: 0, end: 1, settled: 0,
  setZoom,
  range: () => view.zoom ?? [view.begin, view.end],
  tick: (value) => AXES[view.axis].tick(value),
  exactX: (value) => AXES[view.axis].exact(value),
  where: (value) => AXES[view.axis].where(value),
  axisName: () => AXES[view.axis].name,
  xTitle: () => AXES[view.axis].name,
  showValues: (values) => values.forEach((value, index) => setText(runs[index].output, value === null ? "–" : view.kind().exact(value))),
};
let frame = 0;
let tablesTimer = 0;

paint();
const chart = new OverlayChart(document.querySelector("[data-chart]"), {}, view);
follow({
  runs: runs.map((run) => run.id),
  after: Number(page.dataset.seq),
  kinds: ["metrics", "status", "rewind", "deleted", "resync"],
  on: {
    metrics: (event) => changed(event.run, (points) => points.append(event.series)),
    rewind: (event) => changed(event.run, (points) => points.rewind(event.step)),
    status: showStatus,
    deleted: ({ run }) => location.assign(runs.find((item) => item.id === run).node.querySelector("[data-keeps]").href),
    resync: () => {
      runs.forEach(load);
      refreshTables();
    },
  },
});
bindView();
drawParallel(tables, point);
await Promise.all(runs.map(load));

function changed(id, change) {
  change(runs.find((item) => item.id === id).points);
  frame ||= requestAnimationFrame(draw);
}

async function load({ points }) {
  await points.load([...new Set([...NAMES, view.series])]);
  frame ||= requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  for (const { node, points, line } of runs) {
    Object.assign(line, placed(points.series.get(view.series) ?? new Series(), view.series, view.axis, node.dataset));
  }
  view.end = Math.max(...view.lines.map((line) => line.x.at(-1) ?? 0)) || 1;
  view.begin = beginning(view.lines, view.end);
  view.settled = view.series === "val/acc" ? 0 : FIRST_SHARE * view.end;
  const without = view.lines.filter((line) => !line.value.length).length;
  view.note = without === 0 ? "" : `${without} without a value yet`;
  chart.update();
}

function showStatus(event) {
  const { node } = runs.find((item) => item.id === event.run);
  const further = node.dataset.status !== event.status || node.dataset.bestStep !== String(event.best_step ?? undefined);
  Object.assign(node.dataset, { status: event.status, totalSteps: event.total_steps ?? 0, stepsPerEpoch: event.steps_per_epoch ?? 0 });
  if (event.best_step === null) delete node.dataset.bestStep;
  else node.dataset.bestStep = event.best_step;
  const field = node.querySelector('[data-field="status"]');
  setText(field, event.status);
  field.dataset.status = event.status;
  frame ||= requestAnimationFrame(draw);
  if (further) refreshTables();
}

/** Fetches the tables, at most once per TABLES_DELAY_MS and not while the keyboard focus is in them. */
function refreshTables() {
  tablesTimer ||= setTimeout(async () => {
    tablesTimer = 0;
    if (tables.contains(document.activeElement) && document.activeElement !== document.body) return refreshTables();
    const { ok, body } = await request(`${root}/compare/tables?runs=${encodeURIComponent(page.dataset.slots)}`, { as: "text", quiet: true });
    if (!ok) return undefined;
    const scrolled = [...tables.querySelectorAll(".scroll-x")].map((box) => box.scrollLeft);
    const template = document.createElement("template");
    template.innerHTML = body;
    localizeTimes(template.content);
    tables.replaceChildren(...template.content.children);
    drawParallel(tables, point);
    [...tables.querySelectorAll(".scroll-x")].forEach((box, index) => (box.scrollLeft = scrolled[index] ?? 0));
    return undefined;
  }, TABLES_DELAY_MS);
}

function bindView() {
  showPaused();
  keepState();
  for (const link of document.querySelectorAll("[data-series], [data-axis]")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      if (link.dataset.axis) view.zoom = null; // a range of epochs does not apply to steps
      if (link.dataset.series) view.series = link.dataset.series;
      else view.axis = link.dataset.axis;
      for (const other of link.parentElement.children) other.toggleAttribute("aria-current", false);
      link.setAttribute("aria-current", "true");
      if (link.dataset.series && others) others.value = "";
      showView();
    });
  }
  const others = document.querySelector("[data-other-series]");
  others?.addEventListener("change", async () => {
    if (!others.value) return;
    view.series = others.value;
    for (const link of document.querySelectorAll("[data-series]")) link.toggleAttribute("aria-current", false);
    showView();
    await Promise.all(runs.map(load));
  });
  document.querySelector("[data-back-to-live]").addEventListener("click", () => setZoom(null));
  chart.plotBox.addEventListener("dblclick", () => view.zoom && setZoom(null));
  for (const { node, slot } of runs) {
    for (const kind of ["pointerenter", "focusin"]) node.addEventListener(kind, () => point(slot));
    for (const kind of ["pointerleave", "focusout"]) node.addEventListener(kind, () => point(null));
  }
  addEventListener("themechange", () => {
    paint();
    chart.build();
    draw();
  });
}

/** Marks the run of a slot everywhere and names it; null marks none. */
function point(slot) {
  for (const { node, slot: own } of runs) node.toggleAttribute("data-lit", own === slot);
  chart.highlight(slot);
  lightParallel(slot);
}

/** After another series or axis was chosen. */
function showView() {
  const link = document.querySelector(`[data-series="${CSS.escape(view.series)}"]`);
  setText(document.querySelector("[data-series-title]"), link?.textContent ?? view.series);
  saveState();
  showPaused();
  chart.build(); // dots and axes depend on the series
  draw();
}

function setZoom(range) {
  view.zoom = range;
  saveState();
  showPaused();
  draw();
}

function showPaused() {
  document.querySelector("[data-paused]").hidden = !view.zoom;
}

function zoomFromAddress() {
  const parts = (chosen.get("zoom") ?? "").split("-").map(Number);
  return parts.length === 2 && parts.every(Number.isFinite) && parts[0] < parts[1] ? parts : null;
}

/** Writes series, axis and zoom to the URL, and to the links and the form that change the set of runs. */
function saveState() {
  const address = new URL(location.href);
  withState(address);
  history.replaceState(null, "", readable(address));
  keepState();
}

function keepState() {
  for (const link of document.querySelectorAll("[data-keeps]")) link.href = readable(withState(new URL(link.href)));
  for (const [name, value] of [["series", view.series], ["x", view.axis]]) {
    const field = document.querySelector(`[data-state="${name}"]`);
    if (field) field.value = value;
  }
}

function withState(address) {
  const { usualSeries, usualX } = page.dataset;
  const state = { series: view.series === usualSeries ? "" : view.series, x: view.axis === usualX ? "" : view.axis };
  state.zoom = view.zoom ? view.zoom.map((value) => Number(value.toFixed(3))).join("-") : "";
  for (const [name, value] of Object.entries(state)) {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  return address;
}

function readable(address) {
  return address.href.replaceAll("%2C", ",").replaceAll("%2F", "/");
}

function paint() {
  view.colors = palette([...ROLES, ...new Set(runs.map((run) => roleOf(run.slot)))]);
  for (const { line } of runs) line.color = view.colors[roleOf(line.slot)];
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
