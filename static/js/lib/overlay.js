// Calculations for charts with one line per run.

/** The number of slots with a color of their own; lines of further slots are gray. Any six in a row differ by dash. */
export const HUES = 6;
const DASHES = [[], [12, 4], [4, 4], [14, 4, 4, 4], [6, 6], [2, 3]];
const MARKS = ["circle", "square", "triangle", "diamond", "cross", "bar"];

export function dashOf(slot) {
  return DASHES[slot % DASHES.length];
}

/** The shape at a line's end, so that lines differ without color. */
export function markOf(slot) {
  return MARKS[slot % MARKS.length];
}

export function roleOf(slot) {
  return slot < HUES ? `slot-${slot}` : "slot-grey";
}

/**
 * The y range of the values between `from` and `to` in all columns {x, value}, plus a margin, within `least` and
 * `most`.
 */
export function fitted(columns, from, to, { least = -Infinity, most = Infinity } = {}) {
  let low = Infinity;
  let high = -Infinity;
  for (const { x, value } of columns) {
    for (let index = 0; index < x.length; index += 1) {
      const item = value[index];
      if (item === null || item === undefined || x[index] < from || x[index] > to) continue;
      low = Math.min(low, item);
      high = Math.max(high, item);
    }
  }
  if (low > high) return [Math.max(0, least), Math.min(1, most)];
  const margin = 0.06 * (high - low || Math.abs(high) || 1);
  return [Math.max(least, low - margin), Math.min(most, high + margin)];
}

/** Moves the positions in `wanted` apart so that neighbors are at least `gap` apart, between `low` and `high`. */
export function spread(wanted, gap, low, high) {
  const order = wanted.map((_, index) => index).sort((a, b) => wanted[a] - wanted[b]);
  const places = [...wanted];
  let edge = low;
  for (const index of order) {
    places[index] = Math.max(places[index], edge);
    edge = places[index] + gap;
  }
  edge = high;
  for (const index of order.reverse()) {
    places[index] = Math.min(places[index], edge);
    edge = places[index] - gap;
  }
  return places;
}

/** The last point {x, value} whose value is not null; null if there is none. */
export function lastOf({ x, value }) {
  let index = value.length - 1;
  while (index >= 0 && (value[index] === null || value[index] === undefined)) index -= 1;
  return index < 0 ? null : { x: x[index], value: value[index] };
}

/** The value at x = `at`, or the last value before it; null if there is none. */
export function valueAt({ x, value }, at) {
  let index = x.length - 1;
  while (index >= 0 && (x[index] > at || value[index] === null || value[index] === undefined)) index -= 1;
  return index < 0 ? null : value[index];
}

/**
 * `text` shortened in the middle to fit `width`, since run names often differ only at the end. `measure` returns the
 * width of a text.
 */
export function cut(text, width, measure) {
  if (measure(text) <= width) return text;
  for (let kept = text.length - 1; kept > 1; kept -= 1) {
    const end = Math.floor(kept / 2);
    const short = `${text.slice(0, kept - end).trimEnd()}…${text.slice(text.length - end).trimStart()}`;
    if (measure(short) <= width) return short;
  }
  return "";
}
