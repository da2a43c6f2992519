const RESOLUTION = 1000; // the average never looks back by less than this part of the series

/**
 * A debiased exponential moving average over steps that need not be evenly spaced, updated per point.
 * Debiased: the sum is divided by the sum of the weights, so that early averages are biased neither to zero nor to the
 * first value.
 */
export class Smoother {
  constructor(halfLife) {
    this.halfLife = Math.max(halfLife, 1e-9);
    this.sum = this.weight = this.step = 0;
  }

  /**
   * Adds `value` at `step` and returns the average; for a value that is not finite, returns null and leaves the
   * average unchanged.
   */
  next(step, value) {
    if (value === null || !Number.isFinite(value)) return null;
    const decay = 0.5 ** (Math.max(1, step - this.step) / this.halfLife);
    this.sum = this.sum * decay + value * (1 - decay);
    this.weight = this.weight * decay + (1 - decay);
    this.step = step;
    return this.sum / this.weight;
  }
}

/** The average at each point, from all points; null at values above `fence`, which it leaves out. */
export function smooth(steps, values, halfLife, fence = Infinity) {
  const smoother = new Smoother(halfLife);
  return values.map((value, index) => (value > fence ? null : smoother.next(steps[index], value)));
}

/**
 * The half-life in steps of an average of which each regular distance between two points keeps `weight`. The regular
 * distance is the median, or a thousandth of the series. app/metrics/smoothing.py has the same rule.
 */
export function halfLifeOf(steps, weight) {
  if (weight <= 0) return 0;
  const gaps = Float64Array.from(steps.slice(1), (step, index) => step - steps[index]).sort();
  const median = gaps.length ? gaps[Math.floor((gaps.length - 1) / 2)] : 1;
  const regular = Math.max(median, ((steps.at(-1) ?? 0) - (steps[0] ?? 0)) / RESOLUTION);
  return (regular * Math.log(0.5)) / Math.log(weight);
}

/** Continues an average that was computed elsewhere: fills in the averages of the points that were added since. */
export function extend(steps, values, averages, halfLife, fence) {
  let at = averages.length - 1;
  while (at >= 0 && averages[at] === null) at -= 1;
  const smoother = new Smoother(halfLife);
  if (at >= 0) Object.assign(smoother, { sum: averages[at], weight: 1, step: steps[at] });
  for (let index = averages.length; index < steps.length; index += 1) {
    averages.push(values[index] > fence ? null : smoother.next(steps[index], values[index]));
  }
}
