// What a chart shows besides its lines, as shapes in CSS pixels: drawn on the canvas, and written to SVG by download.js.
import { spread } from "../lib/overlay.js";

export const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const TRIANGLE = [[-4, 6], [0, 0], [4, 6]];
const ROW = 14;
const BESIDE = 7; // pixels from the plot to a label's text
const LEADER = 5; // pixels from the plot to a label, in which a line leads to a label that was moved

/** The plot's box within the canvas, and where values lie, in CSS pixels. */
export function layout(u) {
  const ratio = u.ctx.canvas.width / u.width;
  const box = Object.fromEntries(["left", "top", "width", "height"].map((side) => [side, u.bbox[side] / ratio]));
  const at = (value, scale) => u.valToPos(value, scale, true) / ratio;
  return { ...box, right: box.left + box.width, bottom: box.top + box.height, x: (value) => at(value, "x"), y: (value) => at(value, "y") };
}

export function marks(u, chart) {
  const { view, kind } = chart;
  const { colors } = view;
  const place = layout(u);
  const inside = (step) => place.x(view.x(step)) >= place.left - 1 && place.x(view.x(step)) <= place.right + 1;
  const shapes = [];
  const labels = [];
  const rest = place.x(view.reached ?? Infinity);
  if (rest < place.right - 1 && rest >= place.left) shapes.push({ rect: [rest, place.top, place.right - rest, place.height], color: colors.line, alpha: 0.35 });
  const chance = kind.chance?.(view);
  if (chance && place.y(chance) >= place.top && place.y(chance) <= place.bottom) {
    shapes.push({ line: [place.left, place.y(chance), place.right, place.y(chance)], color: colors.muted, dash: [2, 4] });
    labels.push({ y: place.y(chance), rows: [{ text: "chance", color: colors.muted }] });
  }
  const resumes = view.resumes.filter((item) => inside(item.step));
  for (const { step } of resumes) {
    const x = place.x(view.x(step));
    shapes.push({ line: [x, place.top, x, place.bottom], color: colors.muted, dash: [1, 3] });
  }
  for (const { step } of view.checkpoints.filter((item) => inside(item.step))) {
    const x = place.x(view.x(step));
    shapes.push({ line: [x, place.bottom, x, place.bottom + 5], color: colors.muted });
  }
  shapes.push(...clipped(u, chart, place));
  shapes.push(...resumeNames(u, chart, place, resumes));
  if (kind.val && view.best !== null && inside(view.best)) best(chart, place, shapes, labels);
  return [...shapes, ...gutter(labels, place)];
}

/**
 * Labels right of the plot, each with its first row beside `y`. Where they would overlap they are moved apart, and a
 * line leads from the value to its label.
 */
export function gutter(labels, place) {
  const sizes = labels.map(({ rows }) => ROW * rows.length);
  const centers = spread(labels.map(({ y }, index) => y + (sizes[index] - ROW) / 2), sizes, place.top - ROW / 2, place.bottom + ROW / 2);
  return labels.flatMap(({ y, rows }, index) => {
    const first = centers[index] - (sizes[index] - ROW) / 2;
    const leader = Math.abs(first - y) < 2 ? [] : [{ line: [place.right, y, place.right + LEADER, first], color: rows[0].color }];
    return [...leader, ...rows.map((row, at) => ({ ...row, x: place.right + BESIDE, y: first + ROW * at }))];
  });
}

/** The pixels right of a plot that a label with this text takes, at least `least`. */
export function gutterWidth(context, text, least) {
  return Math.max(least, BESIDE + Math.ceil(textWidth(context, text)) + 1);
}

export function textWidth(context, text) {
  context.save();
  context.font = FONT;
  const { width } = context.measureText(text);
  context.restore();
  return width;
}

/** A triangle for each point above the axis, and a note of how many there are. */
function clipped(u, chart, place) {
  const { max } = u.scales.y;
  const [from, to] = [u.scales.x.min, u.scales.x.max];
  const columns = new Map();
  let [many, largest] = [0, -Infinity];
  for (const [series, color] of [[chart.train, chart.view.colors.train], [chart.val, chart.view.colors.val]]) {
    series.value.forEach((value, index) => {
      if (value === null || value <= max) return;
      const x = chart.view.x(series.step[index]);
      if (x < from || x > to) return;
      many += 1;
      largest = Math.max(largest, value);
      columns.set(Math.round(place.x(x) / 4), { polygon: polygon(TRIANGLE, place.x(x), place.top), color });
    });
  }
  chart.note.hidden = many === 0;
  chart.note.textContent = `▲ ${many} above the axis, at most ${chart.kind.show(largest)}`;
  return [...columns.values()];
}

/** What the hairline of each resume is, above the plot; where there is no room, the tooltip alone says so. */
function resumeNames(u, { view, note }, place, resumes) {
  const end = place.right - (note.hidden ? 0 : note.offsetWidth + BESIDE);
  const shapes = [];
  let free = place.left;
  for (const { step, number } of resumes) {
    const x = Math.round(place.x(view.x(step)));
    const short = `attempt ${number}`;
    const text = [...(resumes.length > 1 ? [] : [`resumed, ${short}`]), short].find((name) => x >= free && x + textWidth(u.ctx, name) <= end);
    if (!text) continue;
    shapes.push({ text, x, y: place.top - ROW / 2, color: view.colors.muted });
    free = x + textWidth(u.ctx, text) + BESIDE;
  }
  return shapes;
}

/** A ring of 8 px diameter on the best value, a hairline from it to the right, and its value in the gutter there. */
function best({ view, val, kind }, place, shapes, labels) {
  const value = val.value[val.step.indexOf(view.best)];
  if (value === null || value === undefined) return;
  const [x, y] = [place.x(view.x(view.best)), place.y(value)];
  if (y < place.top - 1 || y > place.bottom + 1) return;
  shapes.push({ line: [x + 4, y, place.right, y], color: view.colors.muted, dash: [2, 4] });
  shapes.push({ ring: [x, y, 4], color: view.colors.val, fill: view.colors.bg });
  labels.push({ y, rows: [{ text: kind.show(value), color: view.colors.ink, bold: true }, { text: view.bestName(), color: view.colors.muted }] });
}

/** The corners of a shape whose corners are given in units of `size` around (x, y). */
export function polygon(corners, x, y, size = 1) {
  return corners.map(([dx, dy]) => [x + size * dx, y + size * dy]);
}

export function paint(context, shapes) {
  const ratio = devicePixelRatio;
  context.save();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.textBaseline = "middle";
  context.textAlign = "left";
  for (const shape of shapes) paintOne(context, shape);
  context.restore();
}

function paintOne(context, { line, ring, rect, polygon: corners, text, x, y, color, fill, dash = [], alpha = 1, bold = false }) {
  context.fillStyle = context.strokeStyle = color;
  context.globalAlpha = alpha;
  context.lineWidth = ring ? 2 : 1;
  context.setLineDash(dash);
  context.beginPath();
  if (line) {
    const [x1, y1, x2, y2] = line.map((value) => Math.round(value) + 0.5);
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
  } else if (ring) {
    context.arc(...ring, 0, 2 * Math.PI);
    context.fillStyle = fill;
    context.fill();
    context.stroke();
  } else if (rect) {
    context.fillRect(...rect);
  } else if (corners) {
    for (const corner of corners) context.lineTo(...corner);
    context.fill();
  } else {
    context.font = bold ? `600 ${FONT}` : FONT;
    context.fillText(text, x, y);
  }
}
