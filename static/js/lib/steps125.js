const DIGITS = [1, 2, 5];

/**
 * The next value up (+1) or down (-1) in the 1–2–5 series … 1e-4, 2e-4, 5e-4, 1e-3 …; integers below ten change by
 * one.
 */
export function nudge(value, direction, { whole = false } = {}) {
  if (value === 0) return direction > 0 ? (whole ? 1 : 1e-4) : 0;
  if (whole && Math.abs(value) < 10) return value + direction;
  const sign = Math.sign(value);
  const up = direction * sign > 0;
  const rungs = ladder(Math.abs(value));
  const next = up
    ? rungs.find((rung) => rung > Math.abs(value) * (1 + 1e-9))
    : rungs.findLast((rung) => rung < Math.abs(value) * (1 - 1e-9));
  return sign * next;
}

function ladder(value) {
  const power = Math.floor(Math.log10(value) + 1e-9);
  const rungs = [];
  for (let exponent = power - 1; exponent <= power + 1; exponent += 1) {
    for (const digit of DIGITS) rungs.push(Number(`${digit}e${exponent}`));
  }
  return rungs;
}
