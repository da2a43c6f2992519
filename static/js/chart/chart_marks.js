// What is drawn over the lines: chance, checkpoints, resumes, and the best value.
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

export function marks(u, chart) {
  const { view, kind } = chart;
  const pen = u.ctx;
  const scale = devicePixelRatio;
  const box = u.bbox;
  const x = (value) => u.valToPos(value, "x", true);
  const y = (value) => u.valToPos(value, "y", true);
  pen.save();
  pen.lineWidth = scale;
  pen.font = `${11 * scale}px ${FONT}`;
  pen.textBaseline = "middle";

  const level = kind.chance?.(view);
  if (level && y(level) >= box.top && y(level) <= box.top + box.height) {
    line(pen, view.colours.muted, [2 * scale, 4 * scale], box.left, y(level), box.left + box.width, y(level));
    pen.fillStyle = view.colours.muted;
    pen.textAlign = "left";
    pen.fillText("chance", box.left + box.width + 6 * scale, y(level));
  }
  const inside = (step) => x(view.x(step)) >= box.left - 1 && x(view.x(step)) <= box.left + box.width + 1;
  for (const step of view.resumes.filter(inside)) {
    line(pen, view.colours["line-strong"], [scale, 3 * scale], x(view.x(step)), box.top, x(view.x(step)), box.top + box.height);
  }
  for (const step of view.checkpoints.filter(inside)) {
    const bottom = box.top + box.height;
    line(pen, view.colours.muted, [], x(view.x(step)), bottom, x(view.x(step)), bottom + 5 * scale);
  }
  if (kind.val && view.best !== null && inside(view.best)) best(pen, chart, { x, y, box, scale });
  pen.restore();
}

/** An 8 px ring on a hairline, and its value. */
function best(pen, chart, { x, y, box, scale }) {
  const { view, kind, val } = chart;
  const value = val.at?.(view.best);
  if (value === null || value === undefined || y(value) < box.top - 1) return;
  const left = x(view.x(view.best));
  line(pen, view.colours.muted, [2 * scale, 4 * scale], left, box.top, left, box.top + box.height);
  pen.beginPath();
  pen.arc(left, y(value), 4 * scale, 0, 2 * Math.PI);
  pen.fillStyle = view.colours.bg;
  pen.fill();
  pen.strokeStyle = view.colours.val;
  pen.lineWidth = 2 * scale;
  pen.stroke();
  const text = `${kind.label(value)} · ${view.bestName()}`;
  pen.font = `600 ${11 * scale}px ${FONT}`;
  const width = pen.measureText(text).width;
  const fits = left + 10 * scale + width < box.left + box.width + 72 * scale;
  const start = fits ? left + 10 * scale : left - 10 * scale - width;
  const height = y(value) + (kind.below ? 14 : -12) * scale;
  const row = Math.min(box.top + box.height - 8 * scale, Math.max(box.top + 6 * scale, height));
  pen.textAlign = "left";
  pen.lineWidth = 4 * scale;
  pen.lineJoin = "round";
  pen.strokeStyle = view.colours.bg;
  pen.strokeText(text, start, row);
  pen.fillStyle = view.colours.ink;
  pen.fillText(text, start, row);
}

function line(pen, colour, dash, x1, y1, x2, y2) {
  pen.beginPath();
  pen.strokeStyle = colour;
  pen.setLineDash(dash);
  pen.moveTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  pen.lineTo(Math.round(x2) + 0.5, Math.round(y2) + 0.5);
  pen.stroke();
  pen.setLineDash([]);
}
