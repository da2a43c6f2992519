// The ranges of a chart's axes.
const FEWEST = 8; // with fewer points, none is an outlier
const FENCE = 5;
const LEAST_SPREAD = 0.05;
const START = 1.25;
const ZERO_IS_NEAR = 0.25;
const LEAST_SHARE = 0.02; // of the run, shown from its first step on

/**
 * The value above which values are outliers: far above the median, measured by the 90th percentile. Infinity if none
 * is. With `keepsStart`, what is not much above the first value is none: a loss begins far above what it falls to.
 * app/metrics/smoothing.py has the same rule.
 */
export function outlierFence(values, keepsStart = false) {
  const finite = values.filter((value) => Number.isFinite(value));
  const sorted = Float64Array.from(finite).sort();
  if (sorted.length < FEWEST) return Infinity;
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))];
  const median = at(0.5);
  const fence = median + FENCE * Math.max(at(0.9) - median, LEAST_SPREAD * Math.abs(median));
  return keepsStart ? Math.max(fence, START * finite[0]) : fence;
}

/** The least and the largest of the values up to `fence`; null if there is none. */
export function extremes(values, fence = Infinity) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value) || value > fence) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low > high ? null : [low, high];
}

/** `low` to `high`, widened to whole multiples of a round number. Zero is included if it is near. */
export function niceRange(low, high, { least = -Infinity, most = Infinity } = {}, ticks = 5) {
  const span = high - low || Math.abs(high) / 5 || 1;
  const middle = (high + low) / 2;
  const step = niceStep(span / ticks);
  let bottom = Math.floor((high > low ? low : middle - span / 2) / step + 1e-9) * step;
  const top = Math.ceil((high > low ? high : middle + span / 2) / step - 1e-9) * step;
  if (low >= 0 && (bottom < 0 || low < ZERO_IS_NEAR * high)) bottom = 0;
  return [Math.max(least, round(bottom)), Math.min(most, round(top))];
}

/** `low` to `high` (both positive), widened to one significant figure, for a logarithmic axis. */
export function logRange(low, high) {
  const power = (value) => 10 ** Math.floor(Math.log10(value) + 1e-12);
  const bottom = Math.floor(low / power(low) + 1e-9) * power(low);
  const top = Math.ceil(high / power(high) - 1e-9) * power(high);
  return [round(bottom), round(top > bottom ? top : 2 * bottom)];
}

/** The ticks of a logarithmic axis that are labeled, the others null: 1, 2 and 5 of each decade, 1 alone if they are many. */
export function logTicks(splits) {
  const digits = splits.at(-1) / splits[0] > 150 ? [1] : [1, 2, 5];
  return splits.map((value) => (digits.includes(Number(value.toExponential(0)[0])) ? value : null));
}

/**
 * The right end of the x axis. While the run is live, it is what was reached and a tenth, and is moved only when the
 * line arrives at it; an ended run's axis ends at its last point.
 */
export function extent(current, reached, total, live) {
  if (!live) return reached > 0 ? reached : total > 0 ? total : 1;
  if (reached <= current && current > 0) return current;
  const wanted = Math.max(1.1 * reached, LEAST_SHARE * total) || 1;
  return Math.max(current, reached, total > 0 ? Math.min(total, wanted) : wanted);
}

/** Whether the x axis shows epochs unless told otherwise; it shows steps if the run is shorter than two epochs. */
export function usesEpochs(totalSteps, stepsPerEpoch) {
  return stepsPerEpoch > 0 && totalSteps >= 2 * stepsPerEpoch;
}

/** The half-life of the smoothing of compared runs, in steps: a quarter of an epoch, and less for a short run. */
export function halfLife(totalSteps, stepsPerEpoch) {
  return Math.max(1, Math.min(stepsPerEpoch / 4, totalSteps / 60));
}

/** Round values from `low` to `high`, about `ticks` of them. */
export function niceTicks(low, high, ticks = 5) {
  const step = niceStep((high - low) / ticks);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, index) => round((first + index) * step));
}

function niceStep(wanted) {
  const power = 10 ** Math.floor(Math.log10(wanted));
  return power * ([1, 2, 2.5, 5].find((digit) => digit * power >= wanted * (1 - 1e-9)) ?? 10);
}

function round(value) {
  return Number(value.toPrecision(12));
}
