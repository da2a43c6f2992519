// The Curves tab: fetches the series once, then draws each new point in the next animation frame.
import { Chart } from "../chart/chart.js";
import { count, number, percent } from "../lib/format.js";
import { extent, halfLife, isShort, lossTop, usesEpochs } from "../lib/scale.js";
import { Series } from "../lib/series.js";
import { palette } from "../chart/palette.js";
import { request } from "../shared/request.js";
import { isMoving, page, runId, setBestTime, watchRun } from "./show.js";
import { root } from "../shared/root.js";

const POINTS = 2000;
const MOST_POINTS = 4000;
const NAMES = ["train/loss", "train/acc", "val/loss", "val/acc", "lr", "throughput", "grad/norm", "update/ratio"];

const series = new Map(NAMES.map((name) => [name, new Series()]));
const queued = [];
let loading = true;
let frame = 0;

const view = {
  colors: palette(),
  name: page.dataset.name,
  checkpoints: [],
  resumes: [],
  best: null,
  zoom: zoomFromAddress(),
  end: 0,
  setZoom,
  range: () => view.zoom ?? [0, view.end || 1],
  x: (step) => (view.inEpochs ? step / view.perEpoch : step),
  tick: (value) => (view.inEpochs ? String(Number(value.toFixed(2))) : count(value)),
  where: (step) => (view.inEpochs ? `epoch ${view.x(step).toFixed(2)} · step ${count(step)}` : `step ${count(step)}`),
  bestName: () => (view.inEpochs ? `ep ${page.dataset.bestEpoch}` : `step ${count(view.best)}`),
};
measure();

const classes = Number(page.dataset.classes);
const byChance = classes > 1 && page.dataset.loss === "cross_entropy";
const largest = (chart) => 1.1 * chart.train.value.reduce((a, b) => Math.max(a, b ?? 0), 0) || 1;
const KINDS = {
  loss: {
    train: "train/loss", val: "val/loss", below: false,
    top: (chart) => lossTop([chart.train, chart.val], view.total, byChance ? Math.log(classes) : null),
    chance: () => (byChance ? Math.log(classes) : null),
    show: (value) => number(value), exact: (value) => precise(value), label: (value) => value.toFixed(2),
  },
  accuracy: {
    train: "train/acc", val: "val/acc", below: true,
    top: () => 1,
    chance: () => (classes > 1 ? 1 / classes : null),
    show: (value) => `${percent(value, value % 0.01 > 1e-9 && view.zoom ? 1 : 0)}%`,
    exact: (value) => `${percent(value)}%`, label: (value) => `${percent(value)}%`,
  },
  lr: { train: "lr", top: largest, show: number, exact: number },
  gradient: { train: "grad/norm", top: largest, show: number, exact: (value) => number(Number(value.toPrecision(3))) },
  update: { train: "update/ratio", top: largest, show: number, exact: (value) => number(Number(value.toPrecision(3))) },
  throughput: { train: "throughput", top: largest, show: (value) => count(value), exact: (value) => count(value) },
};
const charts = [...document.querySelectorAll("[data-curves] [data-chart]")].map(
  (figure) => new Chart(figure, KINDS[figure.dataset.chart], view),
);

watchRun({
  metrics: (event) => applyOrQueue(() => append(event.series)),
  rewind: ({ step }) => applyOrQueue(() => rewind(step)),
  resync: load,
  checkpoint: loadCheckpoints,
  status: () => applyOrQueue(() => {}),
});
await load();
bindView();

/**
 * Applies a change. Changes that arrive while the series are being fetched are queued and applied afterwards, in
 * order.
 */
function applyOrQueue(change) {
  if (loading) queued.push(change);
  else {
    change();
    frame ||= requestAnimationFrame(draw);
  }
}

async function load() {
  loading = true;
  loadCheckpoints();
  const { ok, body } = await request(`${root}/api/runs/${runId}/metrics?series=${NAMES.join(",")}&points=${POINTS}`);
  if (ok) {
    for (const name of NAMES) series.set(name, new Series());
    append(body.series);
  }
  loading = false;
  for (const change of queued.splice(0)) change();
  draw();
}

async function loadCheckpoints() {
  const { ok, body } = await request(`${root}/api/runs/${runId}/checkpoints`, { quiet: true });
  if (!ok) return;
  view.checkpoints = body.map((item) => item.step);
  frame ||= requestAnimationFrame(draw);
}

function append(fresh) {
  for (const [name, points] of Object.entries(fresh)) series.get(name)?.append(points);
  // Limits the points that a long-open page holds: the server downsamples them.
  if (!loading && series.get("train/loss").length > MOST_POINTS) load();
}

function rewind(step) {
  for (const item of series.values()) item.rewind(step);
  view.resumes.push(step);
}

function draw() {
  frame = 0;
  measure();
  const reached = Math.max(...[...series.values()].map((item) => item.last), 0);
  const options = { live: isMoving(page.dataset.status) || page.dataset.status === "queued", short: isShort(view.total, view.perEpoch) };
  view.end = extent(view.end, view.x(reached), view.x(view.total), options);
  for (const chart of charts) chart.update(series.get(chart.kind.train), series.get(chart.kind.val));
  const validation = series.get("val/acc");
  const place = view.best === null ? -1 : validation.step.indexOf(view.best);
  if (place >= 0) setBestTime(validation.time[place]);
}

function measure() {
  const { totalSteps, stepsPerEpoch, bestStep } = page.dataset;
  view.total = Number(totalSteps);
  view.perEpoch = Number(stepsPerEpoch);
  view.inEpochs = usesEpochs(view.total, view.perEpoch);
  view.halfLife = halfLife(view.total, view.perEpoch);
  view.best = bestStep === undefined ? null : Number(bestStep);
}

function setZoom(range) {
  view.zoom = range;
  const address = new URL(location.href);
  if (range) address.searchParams.set("x", range.map((value) => Number(value.toFixed(3))).join("-"));
  else address.searchParams.delete("x");
  history.replaceState(null, "", address);
  showPaused();
  draw();
}

function zoomFromAddress() {
  const parts = (new URLSearchParams(location.search).get("x") ?? "").split("-").map(Number);
  return parts.length === 2 && parts.every(Number.isFinite) && parts[0] < parts[1] ? parts : null;
}

function showPaused() {
  document.querySelector("[data-paused]").hidden = !view.zoom;
}

function bindView() {
  showPaused();
  document.querySelector("[data-back-to-live]").addEventListener("click", () => setZoom(null));
  for (const chart of charts) chart.plotBox.addEventListener("dblclick", () => view.zoom && setZoom(null));
  addEventListener("themechange", () => {
    view.colors = palette();
    for (const chart of charts) chart.build();
    draw();
  });
}

function precise(value) {
  return Math.abs(value) >= 100 ? value.toFixed(1) : Math.abs(value) >= 0.01 ? value.toFixed(3) : number(value);
}
