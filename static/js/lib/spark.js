// Draws the same sparkline as app/display/sparkline.py.
const WIDTH = 160;
const HEIGHT = 28;
const MARGIN = 2;

export function sparkline(spark, totalSteps) {
  const { step = [], train = [], val = [] } = spark ?? {};
  const last = Math.max(totalSteps || 0, step.at(-1) ?? 0, 1);
  const settled = [...train.slice(Math.floor(train.length / 10)), ...val].filter(Number.isFinite);
  if (!settled.length) return { train: "", val: "" };
  const low = Math.min(...settled);
  const span = Math.max(...settled) - low || 1;
  const path = (values) => {
    const parts = [];
    values.forEach((value, index) => {
      if (!Number.isFinite(value)) return;
      const x = (WIDTH * step[index]) / last;
      const y = MARGIN + (HEIGHT - 2 * MARGIN) * (1 - Math.min(1, (value - low) / span));
      parts.push(`${parts.length ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`);
    });
    return parts.length > 1 ? parts.join("") : "";
  };
  return { train: path(train), val: path(val) };
}
