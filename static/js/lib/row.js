import { about, clock, count, duration } from "./format.js";

const MOVING = new Set(["starting", "running", "stopping"]);

export function isMoving(status) {
  return MOVING.has(status);
}

/** The devices that a run trains or has trained on; empty if it was not started. */
export function deviceNames(run) {
  return [run.device, ...(run.other_devices ?? [])].filter(Boolean).join(" + ");
}

/** The text of a run's time column: the remaining time, the duration, or where the run ended. */
export function timeText(run) {
  if (run.status === "queued") return "waiting";
  if (run.status === "failed") return run.step ? `at step ${count(run.step)}` : "before step 1";
  if (run.status === "stopped" && run.source === "script") return `at step ${count(run.step)}`;
  if (run.status === "stopped") return `at epoch ${run.epoch}`;
  if (run.status === "finished") {
    return duration((Date.parse(run.finished_at) - Date.parse(run.started_at)) / 1000);
  }
  if (run.source === "script") return `step ${count(run.step)}${run.phase ? ` · ${run.phase}` : ""}`;
  const left = leftText(run);
  return left ? `${left} left` : run.phase || run.status;
}

/** The remaining time; empty if it is unknown. */
export function leftText(run) {
  return run.eta_is_rough ? about(run.eta_seconds) : duration(run.eta_seconds);
}

/** The time of arrival `due` as a clock shows it. */
export function dueText(run, due) {
  return `${run.eta_is_rough ? "about " : ""}${clock(due)}`;
}

export function arrival(run, now = Date.now()) {
  return isMoving(run.status) && run.eta_seconds !== null ? new Date(now + 1000 * run.eta_seconds) : null;
}
