// Keeps the list of runs and the lanes up to date without a reload.
import { arrival, isMoving, timeText } from "../lib/row.js";
import { clock, interval, percent } from "../lib/format.js";
import { sparkline } from "../lib/spark.js";
import { follow } from "../shared/live.js";
import { localizeTimes } from "../shared/page.js";
import { request } from "../shared/request.js";
import { restoreSelection } from "./selection.js";
import { root } from "../shared/root.js";

const LANES_DELAY_MS = 300;

const list = document.querySelector("[data-runs]");
const lanes = document.querySelector("[data-lanes]");
const latest = new Map();
let frame = 0;
let lanesTimer = 0;

follow({
  kinds: ["status", "created", "deleted", "device"],
  after: Number(list.dataset.seq),
  on: {
    status: note,
    device: ({ host, device, utilisation }) => {
      const lane = [...lanes.querySelectorAll("[data-lane]")].find((node) => node.dataset.device === device && node.dataset.host === host);
      const node = lane?.querySelector("[data-load]");
      if (node) node.textContent = `${Math.round(100 * utilisation)}%`;
    },
    created: (run) => {
      if (list.matches("[data-grows]") && !rowOf(run.run)) insert(run);
      else if (list.matches("[data-none-yet]")) location.reload();
      refreshLanes();
    },
    deleted: ({ run }) => {
      rowOf(run)?.remove();
      refreshLanes();
    },
    resync: () => {
      for (const row of list.querySelectorAll("[data-run]")) replace(row);
      refreshLanes();
    },
  },
});
setInterval(refreshLanes, 15000);

function rowOf(id) {
  return list.querySelector(`tr[data-run="${CSS.escape(id)}"]`);
}

function note(run) {
  const before = latest.get(run.run);
  latest.set(run.run, run.spark || !before ? run : { ...run, spark: before.spark });
  frame ||= requestAnimationFrame(show);
}

function show() {
  frame = 0;
  for (const run of latest.values()) {
    const row = rowOf(run.run);
    if (row && row.dataset.runStatus !== run.status) replace(row);
    else if (row) patch(row, run);
    updateLane(run);
  }
  latest.clear();
}

function patch(row, run) {
  const put = (name, text) => {
    const node = row.querySelector(`[data-field="${name}"]`);
    if (node && node.textContent !== text) node.textContent = text;
  };
  put("best", percent(run.best_acc));
  put("interval", interval(run.best_acc, run.val_count));
  if (run.status !== "queued") put("time", timeText(run));
  const due = arrival(run);
  put("arrival", due ? clock(due) : "");
  put("device", run.device ?? "");
  row.querySelector('[data-field="progress"]').value = run.progress;
  if (!run.spark) return; // the event has it only if it changed
  const paths = sparkline(run.spark, run.total_steps);
  row.querySelector('[data-field="spark-train"]').setAttribute("d", paths.train);
  row.querySelector('[data-field="spark-val"]').setAttribute("d", paths.val);
}

function updateLane(run) {
  const lane = lanes.querySelector(`[data-lane-run="${CSS.escape(run.run)}"]`);
  if (!lane || !isMoving(run.status)) {
    if (Boolean(lane) !== isMoving(run.status)) refreshLanes();
    return;
  }
  const length = `${Math.max(2, 100 * run.progress).toFixed(2)}%`;
  for (const rect of lane.querySelectorAll("[data-train-length]")) rect.setAttribute("width", length);
  const due = arrival(run);
  const text = due ? clock(due) : run.phase || run.status;
  const node = lane.querySelector("[data-arrival]");
  if (node.textContent !== text) node.textContent = text;
}

async function insert(run) {
  const row = await fetchRow(run.run);
  if (!row || rowOf(run.run)) return;
  row.classList.add("fade-in");
  list.querySelector("[data-rows]").prepend(row);
  const total = document.querySelector("[data-total]");
  if (total) total.textContent = (Number(total.textContent.replaceAll(",", "")) + 1).toLocaleString("en-US");
}

/** Replaces a row with a new one from the server, and keeps the focus and the selection. */
async function replace(row) {
  row.dataset.runStatus = "";
  const fresh = await fetchRow(row.dataset.run);
  if (!fresh) return;
  const focused = row.contains(document.activeElement);
  restoreSelection(fresh);
  row.replaceWith(fresh);
  if (focused) fresh.querySelector("a.name").focus({ preventScroll: true });
}

async function fetchRow(id) {
  const { ok, body } = await request(`${root}/runs/${id}/row`, { as: "text", quiet: true });
  return ok ? fragment(body).querySelector("tr") : null;
}

addEventListener("runschanged", ({ detail }) => {
  for (const id of detail) if (rowOf(id)) replace(rowOf(id));
});

list.addEventListener("click", async (event) => {
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
  for (const waiting of list.querySelectorAll('[data-run-status="queued"]')) replace(waiting);
  refreshLanes();
});

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
