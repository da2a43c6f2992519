// The head of a run's page, updated live. The tabs register their event handlers here.
import { ago, count, duration, figures, interval, percent, tabTitle } from "../lib/format.js";
import { arrival, deviceNames, dueText, isMoving, leftText } from "../lib/row.js";
import { bindNotify, showProgressInTab } from "./arrival.js";
import { showFindings } from "./findings.js";
import { showError } from "../shared/dialogs.js";
import { toast } from "../shared/page.js";
import { follow } from "../shared/live.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const SILENT_SECONDS = 10;

const page = document.querySelector("[data-run-page]");
export const runId = page.dataset.run;
const isScript = "script" in page.dataset;
const state = { lastEvent: Date.now(), bestTime: null, run: null, losses: null };

/** Starts the page's event stream. `on` has one handler per kind of event, called after the head is updated. */
export function watchRun(on = {}) {
  follow({
    runs: [runId],
    after: Number(page.dataset.seq),
    on: {
      ...on,
      status: (run) => {
        showHead(run);
        on.status?.(run);
      },
      metrics: (event) => {
        state.lastEvent = Date.now();
        on.metrics?.(event);
      },
      checkpoint: (event) => {
        showPredict(event);
        on.checkpoint?.(event);
      },
      finding: () => showFindings(runId),
      deleted: () => location.assign(`${root}/`),
      resync: () => {
        refetch();
        on.resync?.();
      },
    },
  });
  bindActions();
  if (!isScript) bindExtension();
  const notify = page.querySelector("[data-notify]");
  notify.hidden = !notify.dataset.when.split(" ").includes(page.dataset.status);
  bindNotify(notify);
  showTailEnd();
  setInterval(tick, 1000);
}

/** Sets when the best value was measured, in UNIX seconds; only the Curves tab has it. */
export function setBestTime(seconds) {
  state.bestTime = seconds;
  tick();
}

async function refetch() {
  const { ok, body: run } = await request(`${root}/api/runs/${runId}`, { quiet: true });
  if (ok) showHead({ ...run, run: run.id });
}

function showHead(run) {
  const before = state.run?.status ?? page.dataset.status;
  state.run = run;
  state.lastEvent = Date.now();
  Object.assign(page.dataset, {
    status: run.status,
    progress: run.progress,
    epochs: run.epochs,
    totalSteps: run.total_steps ?? 0,
    stepsPerEpoch: run.steps_per_epoch ?? 0,
    valCount: run.val_count ?? 0,
  });
  setOrDrop("bestAcc", run.best_acc);
  setOrDrop("bestStep", run.best_step);
  setOrDrop("bestEpoch", run.best_epoch);
  page.dataset.name = run.name;
  page.dataset.phase = run.phase ?? "";
  put("h1", run.name).title = run.name;
  put("[data-run-status]", run.status).dataset.status = run.status;
  put("[data-run-detail]", detail(run));
  if (!isScript) put("[data-run-device]", deviceNames(run) || "not assigned");
  showFacts(run);
  const bar = page.querySelector("[data-run-progress]");
  if (bar) Object.assign(bar, { value: run.progress }).dataset.status = run.status;
  document.title = isScript ? run.name : tabTitle(run);
  showProgressInTab(run, before);
  for (const node of page.querySelectorAll("[data-when]")) {
    const { when, unless } = node.dataset; // a run that diverged does so again if it is resumed
    node.hidden = !when.split(" ").includes(run.status) || (unless !== undefined && run.error?.code === unless);
  }
  if (run.status !== before) showFailure(run);
}

function showFacts(run) {
  if (isScript) return showScriptFacts(run);
  const best = percent(run.best_acc);
  put('[data-fact="best"]', best ? `${best}%` : "–");
  put('[data-fact="interval"]', interval(run.best_acc, run.val_count));
  const tested = run.summary?.["test/acc"];
  page.querySelector("[data-tested]").hidden = tested === undefined;
  if (tested !== undefined) put('[data-fact="test"]', `${percent(tested)}%`);
  const losses = (run.spark?.val ?? []).filter((value) => value !== null);
  if (losses.length) put('[data-fact="loss"]', figures(losses.at(-1)));
  const due = arrival(run);
  if (due) {
    put('[data-fact="left"]', leftText(run));
    put('[data-fact="done-at"]', `remaining, ETA ${dueText(run, due)}`);
  } else if (run.finished_at && run.started_at) {
    put('[data-fact="left"]', duration((Date.parse(run.finished_at) - Date.parse(run.started_at)) / 1000));
    put('[data-fact="done-at"]', "duration");
  }
  tick();
  return undefined;
}

/** The latest losses of a script run, and how long it runs. */
function showScriptFacts(run) {
  const losses = run.spark?.names ?? state.losses;
  state.losses = losses;
  for (const [split, name] of Object.entries(losses ?? {})) {
    page.querySelector(`[data-fact-box="${split}"]`).hidden = !name;
    if (!name) continue;
    const value = run.summary?.[name];
    put(`[data-fact="${split}"]`, typeof value === "number" ? figures(value) : (value ?? "–"));
    put(`[data-fact-name="${split}"]`, `${name} (latest)`).title = name;
  }
  tick();
}

/** Offers to predict once there is a checkpoint: with the best one, or the last one until there is a best. */
function showPredict({ best, epoch }) {
  const link = page.querySelector("[data-predict]");
  if (!best && !link.hidden) return;
  link.hidden = false;
  link.title = `With the ${best ? "best" : "last"} checkpoint, epoch ${epoch}`;
}

function detail(run) {
  const parts = [];
  if (isScript) {
    if (run.phase && run.status === "running") parts.push(run.phase);
    parts.push(`step ${count(run.step)}`);
    return parts.map((part) => `· ${part}`).join(" ");
  }
  const behind = Number(page.dataset.behind);
  if (run.status === "queued" && behind) parts.push(`${behind} run${behind === 1 ? "" : "s"} ahead`);
  if (run.phase && run.phase !== "training" && ["starting", "running"].includes(run.status)) parts.push(run.phase);
  if (run.total_steps) {
    parts.push(`epoch ${run.epoch} of ${run.epochs}`, `step ${count(run.step)} of ${count(run.total_steps)}`);
  }
  return parts.map((part) => `· ${part}`).join(" ");
}

async function showFailure(run) {
  const box = page.querySelector("[data-failure]");
  box.hidden = run.status !== "failed";
  if (box.hidden) return;
  put("[data-failure-where]", run.step ? `Failed at step ${count(run.step)}.` : "Failed before its first step.");
  put("[data-failure-message]", run.error?.message ?? "");
  const detail = typeof run.error?.detail === "string" ? run.error.detail : "";
  page.querySelector("[data-failure-detail]").hidden = detail === "";
  put("[data-failure-detail] pre", detail);
  const { ok, body } = await request(`${root}/api/runs/${runId}/log`, { quiet: true });
  if (!ok) return;
  const lines = body.slice(-20);
  page.querySelector("[data-failure-log]").hidden = lines.length === 0;
  put("[data-failure-tail]", lines.map((item) => item.line).join("\n"));
  showTailEnd();
}

function showTailEnd() {
  const tail = page.querySelector("[data-failure-tail]");
  tail.scrollTop = tail.scrollHeight;
}

/** Shows how long a script run has been running, or ran. */
function tickScript() {
  const { status, created } = page.dataset;
  const ended = state.run?.finished_at && state.run?.started_at ? Date.parse(state.run.finished_at) - Date.parse(state.run.started_at) : null;
  if (isMoving(status)) put('[data-fact="left"]', duration((Date.now() - Date.parse(created)) / 1000));
  else if (ended !== null) put('[data-fact="left"]', duration(ended / 1000));
}

function tick() {
  if (isScript) return tickScript();
  const { bestEpoch } = page.dataset;
  const when = state.bestTime ? `, ${ago(Date.now() / 1000 - state.bestTime)}` : "";
  put('[data-fact="best-when"]', `best validation${bestEpoch === undefined ? "" : `, epoch ${bestEpoch}${when}`}`);
  const silent = (Date.now() - state.lastEvent) / 1000;
  const node = page.querySelector("[data-silent]");
  node.hidden = !(page.dataset.status === "running" && page.dataset.phase !== "testing" && silent > SILENT_SECONDS);
  if (!node.hidden) node.textContent = `· trainer silent ${duration(silent)}`;
  return undefined;
}

function bindActions() {
  for (const form of page.querySelectorAll("form[data-action]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const dialog = form.closest("dialog");
      const button = form.querySelector("button:not([data-closes])");
      const { ok, body } = await request(`${root}/api/runs/${runId}/${form.dataset.action}`, { method: "POST", json: requested(form), button, quiet: dialog !== null });
      const menu = form.closest("[data-menu]");
      if (menu) menu.open = false;
      if (!ok && dialog) return showError(dialog, body.error.message);
      dialog?.close();
      if (ok) showHead({ ...body, run: body.id });
      if (ok && form.elements.mode?.value === "wind-down") toast("Finishing early: the learning rate falls to 0, then the model is tested.");
      return undefined;
    });
  }
}

/** A form's fields as the API expects them, without empty ones. */
function requested(form) {
  const body = {};
  for (const [name, value] of new FormData(form)) {
    if (value === "") continue;
    if (name === "schedule") body.schedule = { name: value };
    else body[name] = Number.isNaN(Number(value)) ? value : Number(value); // the server says what is wrong with a text
  }
  return body;
}

/** Draws the learning rate of the epochs that would be added, as the server computes it. */
async function showExtension(form) {
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  query.set("epochs", query.get("extend_epochs") ?? "1");
  query.delete("extend_epochs");
  const { ok, body } = await request(`${root}/api/runs/${runId}/extension?${query}`, { quiet: true });
  if (!ok) return;
  const { lr } = body;
  const top = Math.max(...lr.value) * 1.08 || 1;
  const [first, last] = [lr.step[0], lr.step.at(-1)];
  const points = lr.step.map((step, i) => `${((240 * (step - first)) / Math.max(1, last - first)).toFixed(1)} ${(48 * (1 - lr.value[i] / top)).toFixed(1)}`);
  form.querySelector("[data-extension] path").setAttribute("d", `M${points.join("L")}`);
}

function bindExtension() {
  const form = page.querySelector("[data-extension]").closest("form");
  form.addEventListener("input", () => showExtension(form));
  page.querySelector("[data-opens=extend]").addEventListener("click", () => showExtension(form));
}

function setOrDrop(name, value) {
  if (value === null || value === undefined) delete page.dataset[name];
  else page.dataset[name] = value;
}

function put(selector, text) {
  const node = page.querySelector(selector);
  if (node.textContent !== text) node.textContent = text;
  return node;
}

export { isMoving, page };
