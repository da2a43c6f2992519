const SHORT_RUN_EPOCHS = 20;

/** Top of the loss axis: 1.05 × the larger of chance and the largest value after the first 2% of the run's steps. */
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

/** How many values lie above the axis, and would otherwise be hidden without a word. */
export function countAbove(columns, top) {
  return columns.reduce((sum, { value }) => sum + value.filter((item) => item !== null && item > top).length, 0);
}

/**
 * The right end of the x axis, in epochs or steps. While live it only grows, and in few strides, so that the picture
 * does not creep; a short run shows its whole length at once, an ended one just what it did.
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

/** Epochs on x, or steps where the run is shorter than two epochs. */
export function usesEpochs(totalSteps, stepsPerEpoch) {
  return stepsPerEpoch > 0 && totalSteps >= 2 * stepsPerEpoch;
}

/** Of the smoothing, in steps: a quarter epoch, less where the run is short, or the line would trail far behind its points. */
export function halfLife(totalSteps, stepsPerEpoch) {
  return Math.max(1, Math.min(stepsPerEpoch / 4, totalSteps / 60));
}
