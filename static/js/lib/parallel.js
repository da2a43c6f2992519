// The scales of parallel coordinates.
import { figures } from "./format.js";
import { extremes, logRange, niceRange, niceTicks } from "./scale.js";

const FEW = 6; // values up to this many are ticks themselves

/**
 * An axis of the server's, to be drawn: `shares` are where each run's value is, 0 at the lower end and 1 at the upper,
 * null if it has none; `ticks` are [share, text].
 */
export function scaled({ scale, values }) {
  const known = [...new Set(values.filter((value) => value !== null))];
  if (scale === "categories") return byCategory(values, known.sort((a, b) => a.localeCompare(b, "en", { numeric: true })));
  const [least, most] = extremes(known);
  const areFew = known.length <= FEW && known.length > 1;
  const [low, high] = areFew ? [least, most] : scale === "log" ? logRange(least, most) : niceRange(least, most);
  const length = scale === "log" ? Math.log(high / low) : high - low;
  const share = (value) => (scale === "log" ? Math.log(value / low) : value - low) / length;
  const marked = known.length <= FEW ? known : scale === "log" ? decades(low, high) : niceTicks(low, high);
  return { shares: values.map((value) => (value === null ? null : share(value))), ticks: apart(marked.map((value) => [share(value), figures(value)])) };
}

function byCategory(values, known) {
  const share = (value) => (known.length === 1 ? 0.5 : known.indexOf(value) / (known.length - 1));
  return { shares: values.map((value) => (value === null ? null : share(value))), ticks: known.map((value) => [share(value), value]) };
}

function decades(low, high) {
  const powers = [];
  for (let power = Math.ceil(Math.log10(low) - 1e-9); 10 ** power <= high * (1 + 1e-9); power += 1) powers.push(Number(`1e${power}`));
  return powers.length > 1 ? powers : [low, high];
}

/** The ticks that have room for their text. */
function apart(ticks) {
  const kept = [];
  for (const tick of ticks.sort((a, b) => a[0] - b[0])) if (!kept.length || tick[0] - kept.at(-1)[0] > 0.06) kept.push(tick);
  return kept;
}
