// Calculations for charts with one line per run.

/** The number of slots with a color of their own; lines of further slots are gray. Any six in a row differ by dash. */
export const HUES = 6;
const FAR = 0.05; // of the axis
const DASHES = [[], [12, 4], [4, 4], [14, 4, 4, 4], [10, 3, 2, 3, 2, 3], [2, 3]];
const MARKS = [
  Array.from({ length: 16 }, (_, turn) => [Math.cos((turn * Math.PI) / 8), Math.sin((turn * Math.PI) / 8)]),
  [[-1, -1], [1, -1], [1, 1], [-1, 1]],
  [[0, -1.3], [1.2, 1], [-1.2, 1]],
  [[0, -1.4], [1.4, 0], [0, 1.4], [-1.4, 0]],
  [[-1.4, -0.5], [-0.5, -0.5], [-0.5, -1.4], [0.5, -1.4], [0.5, -0.5], [1.4, -0.5], [1.4, 0.5], [0.5, 0.5], [0.5, 1.4], [-0.5, 1.4], [-0.5, 0.5], [-1.4, 0.5]],
  [[-0.5, -1.6], [0.5, -1.6], [0.5, 1.6], [-0.5, 1.6]],
];

export function dashOf(slot) {
  return DASHES[slot % DASHES.length];
}

/** The corners of the shape at a line's end, so that lines differ without color. */
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

/**
 * Places boxes with the given `sizes` in a column from `low` to `high`, each as near as possible to the center that is
 * `wanted` for it, in that order and without an overlap. Returns their centers.
 */
export function spread(wanted, sizes, low, high) {
  const placed = (members) => {
    let [size, sum] = [0, 0];
    for (const index of members) {
      sum += wanted[index] - size - sizes[index] / 2;
      size += sizes[index];
    }
    return { members, size, top: Math.max(low, Math.min(high - size, sum / members.length)) };
  };
  const groups = []; // of boxes that touch
  for (const index of wanted.map((_, at) => at).sort((a, b) => wanted[a] - wanted[b])) {
    let group = placed([index]);
    while (groups.length && groups.at(-1).top + groups.at(-1).size > group.top) group = placed([...groups.pop().members, ...group.members]);
    groups.push(group);
  }
  const centers = [];
  for (const { members, top } of groups) {
    let edge = top;
    for (const index of members) {
      centers[index] = edge + sizes[index] / 2;
      edge += sizes[index];
    }
  }
  return centers;
}

/** The left end of the x axis: 0, or the first point of columns {x} that all begin far from it, as validation does. */
export function beginning(columns, end) {
  const first = Math.min(...columns.map(({ x }) => x[0] ?? Infinity));
  return first >= FAR * end && first < end ? first : 0;
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
 * `text` shortened to fit `width`, mostly at its start, since run names often differ only at the end. `measure` returns the
 * width of a text.
 */
export function cut(text, width, measure) {
  if (measure(text) <= width) return text;
  for (let kept = text.length - 1; kept > 1; kept -= 1) {
    const end = Math.ceil(0.75 * kept);
    const short = `${text.slice(0, kept - end).trimEnd()}…${text.slice(text.length - end).trimStart()}`;
    if (measure(short) <= width) return short;
  }
  return "";
}
