// Formats the metrics of a run's summary; app/web/runs/columns.py is the server's counterpart.
import { count, number, percent } from "./format.js";

const ACCURACY = /(^|_)(acc\d*|f1)(_|$)/;

/** Accuracies in percent, whole numbers with all digits, others with three. */
export function metric(name, value) {
  if (typeof value !== "number") return "";
  if (ACCURACY.test(name.split("/").at(-1))) return `${percent(value)}%`;
  return Number.isInteger(value) && Math.abs(value) < 1e15 ? count(value) : number(Number(value.toPrecision(3)));
}
