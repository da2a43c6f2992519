// The Curves tab: fetches the series of the charts that are shown, then draws each new point in the next animation frame.
import { Chart } from "../chart/chart.js";
import { palette } from "../chart/palette.js";
import { groups, scriptGroups, STANDARD } from "../lib/chart_groups.js";
import { Series } from "../lib/series.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";
import { otherKind, standardKinds } from "./chart_kinds.js";
import { bindChart, bindTools, showTools } from "./curve_tools.js";
import { CurveView } from "./curve_view.js";
import { isMoving, page, runId, setBestTime, watchRun } from "./show.js";

const POINTS = 2000;
const MOST_POINTS = 4000;
const SMOOTHING_DELAY_MS = 200;
const MOST_NAMES = 2000; // a script may log very many series
const NAMES_PER_REQUEST = 30;
const CHARTS_PER_GROUP = 24; // at first
const OPEN_GROUPS = 8; // of a script run

const box = document.querySelector("[data-curves]");
const isScript = "script" in page.dataset;
const groupBox = document.querySelector("[data-groups]");
const logged = JSON.parse(box.dataset.logged);
const names = new Set(logged.series);
const shownCharts = new Map(); // how many charts of a group are made, by prefix
const series = new Map(); // of the charts that there are
const queued = [];
const charts = new Map();
let loading = true;
let frame = 0;
let smoothingTimer = 0;
let stoodStill = !isMoving(page.dataset.status);

const seen = new IntersectionObserver(showAverages); // a long series is averaged by the server once its chart is in view
const view = new CurveView(logged.attempts, changed);
let builtFor = view.axis;
const kinds = standardKinds(Number(page.dataset.classes), page.dataset.loss);
for (const figure of box.querySelectorAll("[data-chart]")) addChart(figure, kinds[figure.dataset.chart]);
showGroups();
bindTools(view, charts);

watchRun({
  metrics: (event) => applyOrQueue(() => append(event.series)),
  rewind: ({ step }) => applyOrQueue(() => rewind(step)),
  resync: () => load(),
  checkpoint: loadCheckpoints,
  status: () => applyOrQueue(() => (stoodStill ||= !isMoving(page.dataset.status))),
});
addEventListener("themechange", () => {
  view.colors = palette();
  build();
  draw();
});
await begin();

function addChart(figure, kind) {
  for (const name of [kind.train, kind.val]) if (name && !series.has(name)) series.set(name, new Series());
  const chart = new Chart(figure, kind, view);
  chart.home = figure.parentElement;
  charts.set(chart.id, chart);
  bindChart(chart, view, charts);
  seen.observe(figure);
  chart.plotBox.addEventListener("dblclick", () => view.isZoomed && view.resetZoom());
}

/** The folded groups of the series that no chart at the top shows. Their charts are made when they are unfolded. */
function showGroups() {
  const found = isScript ? scriptGroups([...names]) : groups([...names]);
  for (const [place, { prefix, charts: members }] of found.entries()) {
    let group = groupBox.querySelector(`[data-group="${CSS.escape(prefix)}"]`);
    if (!group) {
      group = document.querySelector("[data-group-template]").content.firstElementChild.cloneNode(true);
      group.dataset.group = prefix;
      group.open = opensAtFirst(prefix, place);
      group.addEventListener("toggle", () => keepOpen(group, prefix));
      group.querySelector("[data-more-charts]").addEventListener("click", () => {
        shownCharts.set(prefix, mostOf(prefix) + CHARTS_PER_GROUP);
        makeCharts();
      });
      groupBox.append(group);
    }
    group.querySelector("[data-more-charts]").hidden = members.length <= mostOf(prefix);
    const title = isScript && prefix === "other" ? "without a prefix" : prefix;
    group.querySelector("summary").textContent = `${title} · ${members.length} chart${members.length === 1 ? "" : "s"}`;
    for (const [index, member] of members.entries()) {
      if (charts.has(member.id)) addValidation(charts.get(member.id), member.val);
      else if ((group.open && index < mostOf(prefix)) || view.state.pin.includes(member.id)) addChart(figureOf(member, group.querySelector(".charts")), otherKind(member));
    }
  }
}

/** The groups of a script run are open at first, those of other runs are folded. */
function opensAtFirst(prefix, place) {
  return isScript ? place < OPEN_GROUPS && !view.state.shut.includes(prefix) : view.state.open.includes(prefix);
}

function keepOpen(group, prefix) {
  const list = isScript ? "shut" : "open";
  if ((group.open === isScript) === view.state[list].includes(prefix)) view.toggle(list, prefix);
  else makeCharts();
}

function mostOf(prefix) {
  return shownCharts.get(prefix) ?? CHARTS_PER_GROUP;
}

/** Makes the charts of groups that were unfolded, and fetches their series. */
function makeCharts() {
  const before = new Set(series.keys());
  showGroups();
  const added = [...series.keys()].filter((name) => !before.has(name));
  if (added.length) load(added);
}

/** A validation series that was not logged yet when its chart was made. */
function addValidation(chart, name) {
  if (!name || chart.kind.val) return;
  chart.kind.val = name;
  series.set(name, new Series());
  chart.build();
}

function figureOf({ id, title, val }, parent) {
  const figure = document.querySelector("[data-chart-template]").content.firstElementChild.cloneNode(true);
  figure.dataset.chart = id;
  figure.querySelector("b").textContent = title;
  figure.querySelector("[data-menu] summary").setAttribute("aria-label", `More: ${title}`);
  figure.querySelector("[data-plot]").setAttribute("aria-label", title);
  const link = figure.querySelector("[data-csv]");
  link.href += `?${new URLSearchParams([id, val].filter(Boolean).map((name) => ["name", name]))}`;
  parent.append(figure);
  return figure;
}

function changed(what) {
  if (what.includes("open") || what.includes("shut")) makeCharts();
  if (what.includes("log")) build();
  if (what.includes("smooth")) averageSoon();
  showTools(view, charts);
  draw();
}

function build() {
  for (const chart of charts.values()) chart.build();
}

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

/** The page has begun to fetch the series of the charts at the top, while this script was loaded. */
async function begin() {
  const link = document.querySelector("[data-first]");
  const first = link?.dataset.first.split(",") ?? [];
  if (link) await fetchSeries(first, undefined, link.href);
  const rest = [...series.keys()].filter((name) => !first.includes(name));
  if (rest.length) await fetchSeries(rest);
  loadCheckpoints();
  averageSoon();
}

/** Fetches series, then the averages of those that are too long to be here in full. */
async function load(wanted = [...series.keys()]) {
  loadCheckpoints();
  await fetchSeries(wanted);
  await loadAverages();
}

/** Without an `address`, which has all that is wanted, some names are asked for at a time. */
async function fetchSeries(wanted, weight, address = null) {
  loading = true;
  for (let at = 0; at < wanted.length; at += address ? wanted.length : NAMES_PER_REQUEST) {
    const some = address ? wanted : wanted.slice(at, at + NAMES_PER_REQUEST);
    const { ok, body } = await request(address ?? addressOf(some, weight));
    if (!ok) break;
    for (const name of some) series.set(name, Object.assign(new Series(body.series[name]), { weight }));
  }
  loading = false;
  for (const change of queued.splice(0)) change();
  draw();
}

function addressOf(wanted, weight) {
  const query = new URLSearchParams(wanted.map((name) => ["name", name]));
  query.set("points", POINTS);
  if (weight !== undefined) query.set("smoothing", weight);
  return `${root}/api/runs/${runId}/metrics?${query}`;
}

async function loadAverages() {
  if (loading) return;
  const weight = view.state.smooth;
  const smoothed = [...charts.values()].filter(({ kind, isSeen }) => kind.smooth && isSeen).map(({ kind }) => kind.train);
  const long = smoothed.filter((name) => !series.get(name).isComplete && series.get(name).weight !== weight);
  if (!long.length || weight === 0) return;
  await fetchSeries(long, weight);
  if (series.get(long[0]).weight === weight) await loadAverages(); // what was asked for meanwhile
}

function showAverages(entries) {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    charts.get(target.dataset.chart).isSeen = true;
    seen.unobserve(target);
  }
  averageSoon();
}

/** Later: what is drawn first does not wait for it. */
function averageSoon() {
  clearTimeout(smoothingTimer);
  smoothingTimer = setTimeout(loadAverages, SMOOTHING_DELAY_MS);
}

async function loadCheckpoints() {
  if (isScript) return;
  const { ok, body } = await request(`${root}/api/runs/${runId}/checkpoints`, { quiet: true });
  if (!ok) return;
  view.checkpoints = body;
  frame ||= requestAnimationFrame(draw);
}

function append(fresh) {
  const before = names.size;
  const time = Object.values(fresh)[0]?.time?.[0];
  if (stoodStill && isMoving(page.dataset.status) && time) noteAttempt(time);
  document.querySelector("[data-none-logged]")?.setAttribute("hidden", "");
  for (const name of Object.keys(fresh)) if (names.size < MOST_NAMES && matches(name)) names.add(name);
  if (names.size > before) showGroups();
  for (const [name, points] of Object.entries(fresh)) series.get(name)?.append(points);
  // Limits the points that a long-open page holds: the server downsamples them.
  if (!loading && longest().length > MOST_POINTS) load();
}

/** Whether the page shows the series, if it shows only those whose names contain some letters. */
function matches(name) {
  return name.toLowerCase().includes((box.dataset.filter ?? "").toLowerCase());
}

function rewind(step) {
  for (const item of series.values()) item.rewind(step);
  stoodStill = true;
}

/** The run goes on: the time since its last point was a pause. */
function noteAttempt(time) {
  stoodStill = false;
  const points = longest();
  const { attempts } = view;
  if (!points.length || attempts.at(-1)?.start > points.time.at(-1)) return; // the page knows of it already
  if (attempts.length) attempts.at(-1).end = points.time.at(-1);
  attempts.push({ number: (attempts.at(-1)?.number ?? 0) + 1, step: points.last, start: time, end: time });
}

function draw() {
  frame = 0;
  view.reach(Math.max(...[...series.values()].map((item) => item.last), 0), longest());
  if (view.axis !== builtFor) {
    builtFor = view.axis;
    build();
    showTools(view, charts);
  }
  for (const chart of charts.values()) {
    if (!chart.figure.hidden) chart.update(series.get(chart.kind.train), series.get(chart.kind.val));
  }
  const validation = series.get(STANDARD.accuracy.val);
  const place = view.best === null || !validation ? -1 : validation.step.indexOf(view.best);
  if (place >= 0) setBestTime(validation.time[place]);
}

/** The series by which steps are told in time. */
function longest() {
  return [...series.values()].reduce((a, b) => (b.length > a.length ? b : a), new Series());
}
