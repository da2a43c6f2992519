// The kinds of x axis. Every point has a step; `Clock` says when it was reached.
import { clock, clockSeconds, count, duration } from "./format.js";
import { lowerBound } from "./series.js";

export const AXES = { step: "step", epoch: "epoch", relative: "relative time, pauses left out", wall: "time of day" };
const MINUTES = [1, 2, 5, 10, 15, 30].map((value) => 60 * value);
const TIME_STEPS = [1, 2, 5, 10, 15, 30, ...MINUTES, ...[1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 672].map((value) => 3600 * value)];
const STEPS = decades(0, 12, [1, 2, 5]);
const EPOCHS = decades(-4, 8, [1, 2, 5]);

export class Clock {
  /**
   * @param {{step: number[], time: (number|null)[]}} points when steps were logged, in UNIX seconds
   * @param {{step: number, start: number, end: number}[]} attempts between which the run stood still
   */
  constructor(points = { step: [], time: [] }, attempts = []) {
    this.step = [];
    this.wall = [];
    points.step.forEach((step, index) => {
      if (points.time[index] === null) return;
      this.step.push(step);
      this.wall.push(Math.max(points.time[index], this.wall.at(-1) ?? 0)); // a clock may have been set back
    });
    this.start = Math.min(attempts[0]?.start ?? Infinity, this.wall[0] ?? Infinity);
    this.relative = this.step.map((step, index) => this.wall[index] - this.start - pauses(attempts, step));
    this.relative.forEach((value, index, all) => (all[index] = Math.max(0, value, all[index - 1] ?? 0)));
  }

  get isEmpty() {
    return this.step.length === 0;
  }

  /** The time of `step`; `kind` is relative or wall. */
  at(step, kind) {
    return interpolated(this.step, this[kind], step);
  }

  stepAt(time, kind) {
    return interpolated(this[kind], this.step, time);
  }
}

/** The seconds before `step` during which no attempt was running. */
function pauses(attempts, step) {
  return attempts.slice(1).reduce((sum, attempt, index) => sum + (attempt.step < step ? Math.max(0, attempt.start - attempts[index].end) : 0), 0);
}

/** The y at `x` on the line through the points (xs, ys); outside, that of the nearest point. */
export function interpolated(xs, ys, x) {
  const after = lowerBound(xs, x);
  if (after === 0) return ys[0];
  if (after === xs.length) return ys.at(-1);
  const [left, right] = [xs[after - 1], xs[after]];
  return ys[after - 1] + ((ys[after] - ys[after - 1]) * (x - left)) / (right - left || 1);
}

/** The distances between ticks from which the chart chooses. */
export function increments(kind) {
  return { step: STEPS, epoch: EPOCHS }[kind] ?? TIME_STEPS;
}

/** The text of a tick; `span` is the length of the axis. */
export function tick(kind, value, span) {
  if (kind === "step") return count(value);
  if (kind === "epoch") return String(Number(value.toFixed(4)));
  if (kind === "relative") return value < 0 ? "" : duration(value);
  const date = new Date(1000 * value);
  return span < 600 ? clockSeconds(date) : clock(date);
}

function decades(from, to, digits) {
  const values = [];
  for (let power = from; power <= to; power += 1) for (const digit of digits) values.push(Number(`${digit}e${power}`));
  return values;
}
