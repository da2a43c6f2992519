// Marks drawn over the lines: chance level, checkpoints, resumes and the best value.
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

export function marks(u, chart) {
  const { view, kind } = chart;
  const context = u.ctx;
  const scale = devicePixelRatio;
  const box = u.bbox;
  const x = (value) => u.valToPos(value, "x", true);
  const y = (value) => u.valToPos(value, "y", true);
  context.save();
  context.lineWidth = scale;
  context.font = `${11 * scale}px ${FONT}`;
  context.textBaseline = "middle";

  const level = kind.chance?.(view);
  if (level && y(level) >= box.top && y(level) <= box.top + box.height) {
    line(context, view.colors.muted, [2 * scale, 4 * scale], box.left, y(level), box.left + box.width, y(level));
    context.fillStyle = view.colors.muted;
    context.textAlign = "left";
    context.fillText("chance", box.left + box.width + 6 * scale, y(level));
  }
  const inside = (step) => x(view.x(step)) >= box.left - 1 && x(view.x(step)) <= box.left + box.width + 1;
  for (const step of view.resumes.filter(inside)) {
    line(context, view.colors["line-strong"], [scale, 3 * scale], x(view.x(step)), box.top, x(view.x(step)), box.top + box.height);
  }
  for (const step of view.checkpoints.filter(inside)) {
    const bottom = box.top + box.height;
    line(context, view.colors.muted, [], x(view.x(step)), bottom, x(view.x(step)), bottom + 5 * scale);
  }
  if (kind.val && view.best !== null && inside(view.best)) best(context, chart, { x, y, box, scale });
  context.restore();
}

/** Draws a vertical line at the best step, a ring of 8 px diameter on the best value, and the value as text. */
function best(context, chart, { x, y, box, scale }) {
  const { view, kind, val } = chart;
  const value = val.at?.(view.best);
  if (value === null || value === undefined || y(value) < box.top - 1) return;
  const left = x(view.x(view.best));
  line(context, view.colors.muted, [2 * scale, 4 * scale], left, box.top, left, box.top + box.height);
  context.beginPath();
  context.arc(left, y(value), 4 * scale, 0, 2 * Math.PI);
  context.fillStyle = view.colors.bg;
  context.fill();
  context.strokeStyle = view.colors.val;
  context.lineWidth = 2 * scale;
  context.stroke();
  const text = `${kind.label(value)} · ${view.bestName()}`;
  context.font = `600 ${11 * scale}px ${FONT}`;
  const width = context.measureText(text).width;
  const fits = left + 10 * scale + width < box.left + box.width + 72 * scale;
  const start = fits ? left + 10 * scale : left - 10 * scale - width;
  const height = y(value) + (kind.below ? 14 : -12) * scale;
  const row = Math.min(box.top + box.height - 8 * scale, Math.max(box.top + 6 * scale, height));
  context.textAlign = "left";
  context.lineWidth = 4 * scale;
  context.lineJoin = "round";
  context.strokeStyle = view.colors.bg;
  context.strokeText(text, start, row);
  context.fillStyle = view.colors.ink;
  context.fillText(text, start, row);
}

function line(context, color, dash, x1, y1, x2, y2) {
  context.beginPath();
  context.strokeStyle = color;
  context.setLineDash(dash);
  context.moveTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  context.lineTo(Math.round(x2) + 0.5, Math.round(y2) + 0.5);
  context.stroke();
  context.setLineDash([]);
}
