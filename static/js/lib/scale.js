const SHORT_RUN_EPOCHS = 20;

/**
 * The top of the loss axis: 1.05 × the maximum of the chance level and of all values after the first 2% of the run's
 * steps.
 */
export function lossTop(columns, totalSteps, chance) {
  const settled = 0.02 * totalSteps;
  let top = chance ?? 0;
  for (const { step, value } of columns) {
    const skip = step.at(-1) > settled ? settled : -1;
    for (let index = 0; index < step.length; index += 1) {
      if (step[index] > skip && value[index] !== null && value[index] > top) top = value[index];
    }
  }
  return top > 0 ? 1.05 * top : 1;
}

/** The number of values above the axis. The chart shows it, because these values are not drawn. */
export function countAbove(columns, top) {
  return columns.reduce((sum, { value }) => sum + value.filter((item) => item !== null && item > top).length, 0);
}

/**
 * The right end of the x axis, in epochs or steps. While the run is live the end only grows, in few large increments,
 * so
 * that the lines do not move continuously. A short run's axis covers its whole length; an ended run's axis ends at its
 * last point.
 */
export function extent(current, reached, total, { live, short }) {
  if (!live) return Math.max(reached, total > 0 ? total * 1e-3 : 1);
  if (short) return Math.max(total, reached);
  const wanted = Math.max(reached * 1.25, total / 10);
  return reached <= current ? current : Math.max(current, Math.min(Math.max(total, reached), wanted));
}

export function isShort(totalSteps, stepsPerEpoch) {
  return totalSteps <= SHORT_RUN_EPOCHS * stepsPerEpoch;
}

/** Whether the x axis shows epochs; it shows steps if the run is shorter than two epochs. */
export function usesEpochs(totalSteps, stepsPerEpoch) {
  return stepsPerEpoch > 0 && totalSteps >= 2 * stepsPerEpoch;
}

/**
 * The half-life of the smoothing, in steps: a quarter of an epoch, and less for a short run, where the smoothed line
 * would lag behind its points.
 */
export function halfLife(totalSteps, stepsPerEpoch) {
  return Math.max(1, Math.min(stepsPerEpoch / 4, totalSteps / 60));
}
