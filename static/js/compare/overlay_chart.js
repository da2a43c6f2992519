// A figure with one line per run, labeled at its end.
import { Chart } from "../chart/chart.js";
import { cut, dashOf, fitted, lastOf, markOf, spread, valueAt } from "../lib/overlay.js";
import { align } from "../lib/series.js";

const NAMES_FROM = 640; // plot width in pixels; below it only the legend names the lines
const NAME_WIDTH = 150;
const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const MOST_DOTS = 60;
const DOTTED_LINES = 4;

/**
 * `view.lines` are {name, label, slot, color, x, value, best: {x, value} | null}; `view.kind` formats values;
 * `view.showValues` receives each line's value at the cursor, or its latest value.
 */
export class OverlayChart extends Chart {
  update() {
    this.uplot.setData(this.columns());
    this.note.hidden = !this.view.note;
    this.note.textContent = this.view.note;
    this.showKeys();
    if (this.figure.querySelector("[data-table]").open) this.fillTable();
  }

  columns() {
    const { lines } = this.view;
    const [xs, ...values] = align(lines.map(({ x, value }) => ({ step: x, value })));
    this.xs = xs;
    return [xs, ...values];
  }

  options() {
    const base = super.options();
    const { lines, kind } = this.view;
    const named = this.hasRoomForNames();
    const [x, y] = base.axes;
    this.named = named;
    return {
      ...base,
      padding: [10, named ? NAME_WIDTH : 12, 0, 0],
      cursor: { ...base.cursor, sync: undefined },
      focus: { alpha: 0.2 },
      axes: [x, { ...y, space: 44, values: (_, splits) => splits.map((value) => kind().show(value, splits)) }],
      series: [
        {},
        ...lines.map((line) => ({
          stroke: line.color,
          width: 2,
          dash: dashOf(line.slot),
          points: { show: () => lines.length <= DOTTED_LINES && line.value.length <= MOST_DOTS && kind().dots, size: 5, fill: line.color, width: 0 },
        })),
      ],
      hooks: { ...base.hooks, draw: [(u) => this.drawMarks(u, named), () => this.exposeCounts()] },
    };
  }

  hasRoomForNames() {
    return this.size().width >= NAMES_FROM && this.view.lines.length > 1;
  }

  resize() {
    if (this.named === this.hasRoomForNames()) super.resize();
    else this.build();
  }

  /**
   * The y range of the visible values. Without zoom the first steps are left out, since their values would flatten the
   * rest.
   */
  range() {
    const { lines, kind, zoom, settled } = this.view;
    const [from, to] = zoom ?? [settled, Infinity];
    return fitted(lines, from, to, kind().bounds);
  }

  /** Draws a ring on each line's best value, and the run's name at the line's end if `named`. */
  drawMarks(u, named) {
    const context = u.ctx;
    const scale = devicePixelRatio;
    const { colors } = this.view;
    const box = u.bbox;
    const within = (x, y) => x >= box.left && x <= box.left + box.width && y >= box.top && y <= box.top + box.height;
    const ends = [];
    context.save();
    context.setLineDash([]);
    for (const line of this.view.lines) {
      if (line.best) {
        const [x, y] = [u.valToPos(line.best.x, "x", true), u.valToPos(line.best.value, "y", true)];
        if (within(x, y)) ring(context, x, y, 4 * scale, line.color, colors.bg, 2 * scale);
      }
      const last = lastOf(line);
      if (last) mark(context, markOf(line.slot), u.valToPos(last.x, "x", true), u.valToPos(last.value, "y", true), 3.5 * scale, line.color, within);
      if (last) ends.push({ line, y: Math.min(box.top + box.height, Math.max(box.top, u.valToPos(last.value, "y", true))) });
    }
    if (named) {
      context.font = FONT.replace("11px", `${11 * scale}px`);
      context.textBaseline = "middle";
      context.textAlign = "left";
      const places = spread(ends.map((end) => end.y), 14 * scale, box.top, box.top + box.height);
      ends.forEach(({ line }, index) => {
        context.fillStyle = line.color;
        const text = cut(line.label, (NAME_WIDTH - 16) * scale, (words) => context.measureText(words).width);
        context.fillText(text, box.left + box.width + 8 * scale, places[index]);
      });
    }
    context.restore();
  }

  /** Fades all lines except the one of `slot`; null fades none. */
  highlight(slot) {
    const index = this.view.lines.findIndex((line) => line.slot === slot);
    this.uplot.setSeries(index < 0 ? null : index + 1, { focus: true });
  }

  exposeCounts() {
    const { lines } = this.view;
    Object.assign(this.figure.dataset, {
      lines: lines.filter((line) => line.value.length).length,
      points: lines.reduce((sum, line) => sum + line.value.length, 0),
      lastStep: Math.max(-1, ...lines.map((line) => line.lastStep)),
    });
  }

  showKeys() {
    const at = this.uplot?.cursor.idx ?? null;
    const { lines, where, showValues } = this.view;
    const x = at === null ? Infinity : this.xs[at];
    showValues(lines.map((line) => valueAt(line, x)));
    this.keys.x.textContent = at === null ? "" : where(x);
    this.tooltip?.show(at);
  }

  tooltipRows(at) {
    const { lines, kind, where } = this.view;
    const values = lines.map((line) => [line.name, valueAt(line, this.xs[at])]);
    return [...values.map(([name, value]) => [name, value === null ? "–" : kind().exact(value)]), ["at", where(this.xs[at])]];
  }

  /** Empty if the names are drawn at the lines' ends. */
  legend() {
    return this.named ? [] : this.view.lines.map((line) => [`— ${line.label}`, line.color]);
  }

  async fillTable() {
    const { fillTable } = await import("../chart/chart_table.js");
    const { lines, kind, axisName, exactX } = this.view;
    const [xs, ...values] = this.uplot.data;
    const text = (value) => (value === null || value === undefined ? "" : kind().exact(value));
    fillTable(this.figure, [axisName(), ...lines.map((line) => line.name)], xs.length, (index) => [exactX(xs[index]), ...values.map((column) => text(column[index]))]);
  }
}

/** Draws a filled shape at (x, y) if that is within the plot. */
function mark(context, shape, x, y, size, color, within) {
  if (!within(x, y)) return;
  context.fillStyle = color;
  context.beginPath();
  if (shape === "circle") context.arc(x, y, size, 0, 2 * Math.PI);
  else if (shape === "square") context.rect(x - size, y - size, 2 * size, 2 * size);
  else if (shape === "bar") context.rect(x - size / 2, y - 1.6 * size, size, 3.2 * size);
  else if (shape === "cross") {
    context.rect(x - 1.4 * size, y - size / 2, 2.8 * size, size);
    context.rect(x - size / 2, y - 1.4 * size, size, 2.8 * size);
  } else {
    const corners = shape === "triangle" ? [[0, -1.3], [1.2, 1], [-1.2, 1]] : [[0, -1.4], [1.4, 0], [0, 1.4], [-1.4, 0]];
    corners.forEach(([dx, dy], index) => context[index ? "lineTo" : "moveTo"](x + dx * size, y + dy * size));
  }
  context.fill();
}

function ring(context, x, y, radius, color, inside, width) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = inside;
  context.fill();
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}
