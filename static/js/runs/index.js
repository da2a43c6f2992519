// Keeps the list of runs and the lanes up to date without a reload.
import { arrival, deviceNames, dueText, isMoving, timeText } from "../lib/row.js";
import { figures, interval, metric, percent } from "../lib/format.js";
import { sparkline } from "../lib/spark.js";
import { follow } from "../shared/live.js";
import { localizeTimes } from "../shared/page.js";
import { request } from "../shared/request.js";
import { bindColumns } from "./columns.js";
import { refresh, rowOf } from "./navigate.js";
import { restoreSelection } from "./selection.js";
import { root } from "../shared/root.js";
import "./views.js";

const LANES_DELAY_MS = 300;
const REFRESH_DELAY_MS = 250;
const AGO_MS = 30_000;
const SECTIONS = { queued: "queued", starting: "active", running: "active", stopping: "active" };

const page = document.querySelector("[data-runs]");
const lanes = document.querySelector("[data-lanes]");
const latest = new Map();
const statuses = new Map();
let frame = 0;
let lanesTimer = 0;
let refreshTimer = 0;
let isStale = false; // something happened since the list was last asked for

bindColumns();
follow({
  kinds: ["status", "created", "deleted", "device"],
  after: Number(page.dataset.seq),
  on: {
    status: note,
    device: ({ host, device, utilisation }) => {
      const lane = [...lanes.querySelectorAll("[data-lane]")].find((node) => node.dataset.device === device && node.dataset.host === host);
      const node = lane?.querySelector("[data-load]");
      if (node) node.textContent = `${Math.round(100 * utilisation)}%`;
    },
    created: () => {
      if (page.querySelector("[data-none-yet]")) location.reload();
      refreshSoon();
      refreshLanes();
    },
    deleted: ({ run }) => {
      rowOf(run)?.remove();
      refreshSoon();
      refreshLanes();
    },
    resync: () => {
      refreshSoon();
      refreshLanes();
    },
  },
});
setInterval(refreshLanes, 15000);
setInterval(() => localizeTimes(page), AGO_MS);

function note(run) {
  const before = latest.get(run.run);
  latest.set(run.run, run.spark || !before ? run : { ...run, spark: before.spark });
  frame ||= requestAnimationFrame(show);
}

function show() {
  frame = 0;
  for (const run of latest.values()) {
    const row = rowOf(run.run);
    const isNew = statuses.get(run.run) !== run.status;
    statuses.set(run.run, run.status);
    if (row?.dataset.runStatus === run.status) patch(row, run);
    else if (row && isNew) replace(row);
    // A row may have been replaced before this event came: it still stands in the section of its former status.
    if (isNew && row?.closest("[data-section]").dataset.section !== (SECTIONS[run.status] ?? "ended")) refreshSoon();
    updateLane(run);
  }
  latest.clear();
}

function patch(row, run) {
  const put = (selector, text) => {
    const node = row.querySelector(selector);
    if (node && node.textContent !== text) node.textContent = text;
  };
  put('[data-field="best"]', percent(run.best_acc));
  put('[data-field="interval"]', interval(run.best_acc, run.val_count));
  if (run.status !== "queued") put('[data-field="time"]', timeText(run));
  const due = arrival(run);
  put('[data-field="arrival"]', due && !run.eta_is_rough ? ` · ${dueText(run, due)}` : "");
  for (const cell of row.querySelectorAll("[data-value]")) put(`[data-value="${cell.dataset.value}"]`, cell.dataset.value === "device" ? deviceNames(run) : String(run[cell.dataset.value] ?? ""));
  for (const { dataset } of row.querySelectorAll("[data-metric]")) {
    put(`[data-metric="${CSS.escape(dataset.metric)}"]`, metric(dataset.metric, run.summary[dataset.metric]));
  }
  const bar = row.querySelector('[data-field="progress"]');
  if (bar) bar.value = run.progress;
  if (!run.spark) return; // the event has it only if it changed
  const paths = sparkline(run.spark, run.total_steps);
  row.querySelector('[data-field="spark-train"]')?.setAttribute("d", paths.train);
  row.querySelector('[data-field="spark-val"]')?.setAttribute("d", paths.val);
  put('[data-field="losses"]', lossesText(run));
}

/** The latest training and validation loss of a script run. */
function lossesText({ spark, summary }) {
  const names = spark.names ?? {};
  return [names.train, names.val].map((name) => summary[name]).filter(Number.isFinite).map((value) => figures(value)).join(" ");
}

function updateLane(run) {
  if (run.source === "script") return; // it runs on no device of this server
  const own = lanes.querySelectorAll(`[data-lane-run="${CSS.escape(run.run)}"]`);
  if (!own.length || !isMoving(run.status)) {
    if (Boolean(own.length) !== isMoving(run.status)) refreshLanes();
    return;
  }
  for (const lane of own) showProgress(lane, run);
}

function showProgress(lane, run) {
  const length = `${Math.max(2, 100 * run.progress).toFixed(2)}%`;
  lane.querySelector("[data-train-length]").setAttribute("width", length);
  const due = arrival(run);
  const text = due ? dueText(run, due) : run.phase || run.status;
  const node = lane.querySelector("[data-arrival]");
  if (node.textContent !== text) node.textContent = text;
}

/** Replaces a row with a new one from the server, and keeps the focus and the selection. */
async function replace(row) {
  row.dataset.runStatus = "";
  const { cols } = row.closest("[data-cols]").dataset;
  const { ok, body } = await request(`${root}/runs/${row.dataset.run}/row?cols=${encodeURIComponent(cols)}&shows_group=${"showsGroup" in row.dataset}`, { as: "text", quiet: true });
  const fresh = ok && fragment(body).querySelector("tr");
  if (!fresh || !row.isConnected) return;
  const focused = row.contains(document.activeElement);
  restoreSelection(fresh);
  row.replaceWith(fresh);
  if (focused) fresh.querySelector("a.name").focus({ preventScroll: true });
}

addEventListener("runschanged", ({ detail }) => {
  for (const id of detail) if (rowOf(id)) replace(rowOf(id));
});

page.addEventListener("click", async (event) => {
  const row = event.target.closest("tr[data-run]");
  const star = event.target.closest("[data-star]");
  const move = event.target.closest("[data-move]");
  if (!star && !move) return;
  event.preventDefault();
  const ask = star
    ? ["PATCH", `${root}/api/runs/${row.dataset.run}`, { starred: star.getAttribute("aria-pressed") !== "true" }]
    : ["POST", `${root}/api/runs/${row.dataset.run}/move`, { to: move.dataset.move }];
  const [method, url, json] = ask;
  const { ok } = await request(url, { method, json, button: star ?? move });
  if (!ok) return;
  if (star) return replace(row);
  await refresh();
  refreshLanes();
});

function refreshSoon() {
  isStale = true;
  refreshTimer ||= setTimeout(async () => {
    isStale = false;
    await refresh();
    refreshTimer = 0;
    if (isStale) refreshSoon();
  }, REFRESH_DELAY_MS);
}

function refreshLanes() {
  if (lanesTimer || document.hidden) return;
  lanesTimer = setTimeout(async () => {
    lanesTimer = 0;
    const { ok, body } = await request(`${root}/lanes`, { as: "text", quiet: true });
    if (!ok || lanes.contains(document.activeElement)) return;
    lanes.replaceChildren(...fragment(body).children);
  }, LANES_DELAY_MS);
}

function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  localizeTimes(template.content);
  return template.content;
}
