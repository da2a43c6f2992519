// How the values of each chart are shown.
import { STANDARD } from "../lib/chart_groups.js";
import { figures, number, percent, percentTick, tickText } from "../lib/format.js";

const SHARE = /(^|[/_])(acc|accuracy|acc5|knn_acc|balanced_acc|macro_f1|macro_precision|auc|flips)$/; // series whose values are shares of one

const plain = { tick: (value, splits) => tickText(value, splits[1] - splits[0]), show: (value) => figures(value, true), exact: precise, smooth: true };
const share = {
  bounds: { least: 0, most: 1 }, smooth: true,
  tick: percentTick,
  show: (value) => `${figures(100 * value, true)}%`, exact: (value) => `${percent(value)}%`,
};

/** The kinds of the charts at the top, given the number of classes (0 if unknown) and the name of the loss. */
export function standardKinds(classes, loss) {
  const byChance = classes > 1 && loss === "cross_entropy";
  const kinds = {
    loss: { ...plain, keepsStart: true, unit: byChance ? "loss, nats" : "loss", chance: () => (byChance ? Math.log(classes) : null) },
    accuracy: { ...share, unit: "accuracy, %", chance: () => (classes > 1 ? 1 / classes : null) },
    lr: { ...plain, unit: "learning rate", smooth: false, show: figures, exact: number },
    throughput: { ...plain, unit: "images / s" },
    gradient: { ...plain, unit: "L2 norm" },
    update: { ...plain, unit: "ratio" },
  };
  for (const [id, kind] of Object.entries(kinds)) Object.assign(kind, STANDARD[id]);
  return kinds;
}

/** The kind of a chart of lib/chart_groups.js. Only series of training are smoothed. */
export function otherKind(chart) {
  const name = chart.title.split("/").at(-1);
  const kind = SHARE.test(chart.train) ? { ...share, unit: `${name}, %` } : { ...plain, unit: name };
  return { ...kind, ...chart, keepsStart: chart.train.endsWith("loss"), smooth: !/^(val|test)/.test(chart.train) };
}

function precise(value) {
  return Math.abs(value) >= 100 ? value.toFixed(1) : Math.abs(value) >= 0.01 ? value.toFixed(3) : number(Number(value.toPrecision(4)));
}
