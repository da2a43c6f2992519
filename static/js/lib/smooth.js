/**
 * A debiased exponential moving average over steps that need not be evenly spaced, updated per point.
 * Debiased: the sum is divided by the sum of the weights, so that early averages are biased neither to zero nor to the
 * first value.
 */
export class Smoother {
  constructor(halfLife) {
    this.halfLife = Math.max(halfLife, 1e-9);
    this.reset();
  }

  reset() {
    this.sum = 0;
    this.weight = 0;
    this.step = 0;
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

export function smooth(steps, values, halfLife) {
  const smoother = new Smoother(halfLife);
  return values.map((value, index) => smoother.next(steps[index], value));
}
