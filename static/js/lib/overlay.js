// Arithmetic of curves laid over each other.

/** Slots that have a hue; the rest are grey, and told apart by dashes. */
export const HUES = 6;
const DASHES = [[], [12, 4], [4, 4], [14, 4, 4, 4], [6, 6], [2, 3]];

export function dashOf(slot) {
  return slot < HUES ? [] : DASHES[(slot - HUES) % DASHES.length];
}

export function roleOf(slot) {
  return slot < HUES ? `slot-${slot}` : "slot-grey";
}

/** The range of y that shows the values of all columns {x, value} between `from` and `to`, with a margin. */
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

/** Places at least `gap` apart, each as near to where it is wanted as the others let it, between `low` and `high`. */
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

/** The last value that is a number, with its x; null where there is none. */
export function lastOf({ x, value }) {
  let index = value.length - 1;
  while (index >= 0 && (value[index] === null || value[index] === undefined)) index -= 1;
  return index < 0 ? null : { x: x[index], value: value[index] };
}

/** The value at `at`, or the last before it. */
export function valueAt({ x, value }, at) {
  let index = x.length - 1;
  while (index >= 0 && (x[index] > at || value[index] === null || value[index] === undefined)) index -= 1;
  return index < 0 ? null : value[index];
}

/** `text` with its middle cut out to fit `width`: names that begin alike end differently. `measure` gives a width. */
export function cut(text, width, measure) {
  if (measure(text) <= width) return text;
  for (let kept = text.length - 1; kept > 1; kept -= 1) {
    const end = Math.floor(kept / 2);
    const short = `${text.slice(0, kept - end).trimEnd()}…${text.slice(text.length - end).trimStart()}`;
    if (measure(short) <= width) return short;
  }
  return "";
}
