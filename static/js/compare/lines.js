// What a chart with a line per run shows: how values and places are written, and the points of a run's series.
import { number, count, percent, percentTick } from "../lib/format.js";
import { halfLife } from "../lib/scale.js";
import { Series } from "../lib/series.js";
import { smooth } from "../lib/smooth.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const MINUTE = 60;
const POINTS = 1000;
const MOST_POINTS = 4000;

const rounded = (value) => number(Number(value.toPrecision(4)));
const loss = { dots: true, bounds: { least: 0 }, show: rounded, exact: (value) => value.toFixed(3) };
const accuracy = { dots: true, bounds: { least: 0, most: 1 }, show: (value, splits) => `${percentTick(value, splits)}%`, exact: (value) => `${percent(value)}%` };
const KINDS = { "val/loss": loss, "train/loss": { ...loss, dots: false } };
const OTHER = { dots: false, bounds: {}, show: rounded, exact: rounded };

/** How the values of a series are written, and where they are bounded. */
export function kindOf(series) {
  return KINDS[series] ?? (/\bacc$/.test(series) ? accuracy : OTHER);
}

export const AXES = {
  epoch: { tick: (value) => String(Number(value.toFixed(2))), exact: (value) => value.toFixed(2), where: (value) => `epoch ${value.toFixed(2)}`, name: "epoch" },
  step: { tick: count, exact: String, where: (value) => `step ${count(value)}`, name: "step" },
  time: { tick: (value) => String(Number(value.toFixed(1))), exact: (value) => value.toFixed(2), where: (value) => `${value.toFixed(1)} min`, name: "minutes since the start" },
};

/** The series of a run, as they grow. Changes that arrive while they are fetched are applied afterwards, in order. */
export class RunSeries {
  constructor(id, names) {
    this.id = id;
    this.series = new Map(names.map((name) => [name, new Series()]));
    this.loading = true;
    this.queued = [];
  }

  /** Fetches the series `names`, in place of those that there are. Others are dropped. */
  async load(names = [...this.series.keys()]) {
    this.loading = true;
    const query = new URLSearchParams([...names.map((name) => ["name", name]), ["points", POINTS]]);
    const { ok, body } = await request(`${root}/api/runs/${this.id}/metrics?${query}`);
    if (ok) {
      this.series = new Map(names.map((name) => [name, new Series()]));
      this.#add(body.series);
    }
    this.loading = false;
    for (const change of this.queued.splice(0)) change();
  }

  append(fresh) {
    this.#applyOrQueue(() => {
      this.#add(fresh);
      // Limits the points that a long-open page holds: the server downsamples them.
      if ([...this.series.values()].some((item) => item.length > MOST_POINTS)) this.load();
    });
  }

  rewind(step) {
    this.#applyOrQueue(() => this.series.forEach((item) => item.rewind(step)));
  }

  #add(fresh) {
    for (const [name, points] of Object.entries(fresh)) this.series.get(name)?.append(points);
  }

  #applyOrQueue(change) {
    if (this.loading) this.queued.push(change);
    else change();
  }
}

/** The columns of a line over `axis`. `facts` is the data of its legend: total steps, steps per epoch, start, best step. */
export function placed(found, name, axis, facts) {
  const total = Number(facts.totalSteps);
  const perEpoch = Number(facts.stepsPerEpoch);
  const { step, value, time } = found;
  const scale = axis === "epoch" && perEpoch > 0 ? perEpoch : 1;
  const started = Number(facts.started ?? time[0]);
  const place = axis === "time" ? (index) => (time[index] - started) / MINUTE : (index) => step[index] / scale;
  const x = step.map((_, index) => place(index));
  const shown = name === "train/loss" ? smooth(step, value, halfLife(total, perEpoch)) : value;
  const best = facts.bestStep === undefined || !name.startsWith("val/") ? -1 : step.indexOf(Number(facts.bestStep));
  return { x, value: shown, lastStep: step.at(-1) ?? -1, best: best < 0 || value[best] === null ? null : { x: x[best], value: value[best] } };
}
