/**
 * A debiased exponential average over steps that need not be evenly spaced, carried on as points arrive.
 * Debiased: divided by the weight gathered so far, so that early averages are pulled neither to zero nor to the first value.
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

  /** The average after `value` at `step`; a value that is not finite leaves it as it was. */
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
