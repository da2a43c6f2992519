/**
 * The points of one series, by increasing step. `step`, `value` (null where not finite) and `time` have equal length.
 * `averages` are the server's, if the series is too long to be here in full; `fence` is the value above which it left
 * points out.
 */
export class Series {
  /** @param {object} [answer] a series of the API */
  constructor(answer) {
    this.step = [];
    this.value = [];
    this.time = [];
    this.averages = null;
    this.isComplete = true; // whether every point of the series is here
    if (!answer) return;
    this.append(answer);
    this.isComplete = answer.total <= this.length;
    this.averages = answer.smoothed ?? null;
    if (answer.smoothed) this.fence = answer.outliers_above ?? Infinity;
  }

  get length() {
    return this.step.length;
  }

  get last() {
    return this.step.at(-1) ?? -1;
  }

  /** Adds points; a point replaces an existing one of the same step. Returns the first index that changed. */
  append({ step, value, time }) {
    let changed = this.length;
    for (let index = 0; index < step.length; index += 1) {
      if (step[index] > this.last) {
        this.step.push(step[index]);
        this.value.push(value[index]);
        this.time.push(time?.[index] ?? null);
        continue;
      }
      const place = lowerBound(this.step, step[index]);
      const known = this.step[place] === step[index] ? 1 : 0;
      this.step.splice(place, known, step[index]);
      this.value.splice(place, known, value[index]);
      this.averages?.splice(place, known, null);
      this.time.splice(place, known, time?.[index] ?? null);
      changed = Math.min(changed, place);
    }
    return changed;
  }

  /** Drops every point after `step`; a resumed trainer writes them again. */
  rewind(step) {
    const keep = lowerBound(this.step, step + 1);
    this.step.length = this.value.length = this.time.length = keep;
    if (this.averages) this.averages.length = Math.min(this.averages.length, keep);
  }
}

/** The first index whose value is at least `wanted`. */
export function lowerBound(sorted, wanted) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Merges columns {step, value} into [steps, ...values] over one shared, increasing x, as uPlot requires.
 * A step that a column lacks is undefined (the line continues); a step whose value is not finite is null (a gap).
 */
export function align(columns) {
  const steps = [...new Set(columns.flatMap((column) => column.step))].sort((a, b) => a - b);
  const place = new Map(steps.map((step, index) => [step, index]));
  const values = columns.map((column) => {
    const out = new Array(steps.length).fill(undefined);
    column.step.forEach((step, index) => {
      out[place.get(step)] = column.value[index];
    });
    return out;
  });
  return [steps, ...values];
}
