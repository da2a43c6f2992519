// A figure with one line per run, labeled at its end.
import { Chart } from "../chart/chart.js";
import { gutter, layout, polygon, textWidth } from "../chart/chart_marks.js";
import { cut, dashOf, fitted, lastOf, markOf, valueAt } from "../lib/overlay.js";
import { align } from "../lib/series.js";

const NAMES_FROM = 640; // plot width in pixels; below it only the legend names the lines
const NAME_WIDTH = 184;
const MARK_SIZE = 3.5;
const NEAR = 8; // pixels; a line that ends further from its name is led to it
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

  /** A ring on each line's best value, a shape at its end, and the run's name beside that if `named`. */
  marks(u) {
    const { lines, colors } = this.view;
    const place = layout(u);
    const shapes = [];
    const labels = [];
    const add = (point, shapeAt) => {
      const [x, y] = [place.x(point.x), place.y(point.value)];
      if (x >= place.left && x <= place.right && y >= place.top && y <= place.bottom) shapes.push(shapeAt(x, y));
      return y;
    };
    for (const { color, best, label, slot, ...line } of lines) {
      const last = lastOf(line);
      if (best && best.x !== last?.x) add(best, (x, y) => ({ ring: [x, y, 4], color, fill: colors.bg }));
      if (!last) continue;
      const y = add(last, (x, at) => ({ polygon: polygon(markOf(slot), x, at, MARK_SIZE), color }));
      const end = place.x(last.x);
      if (this.named && end < place.right - NEAR && y >= place.top && y <= place.bottom) {
        shapes.push({ line: [end + NEAR, y, place.right, y], color: colors.muted, dash: [1, 4] });
      }
      labels.push({ y: Math.max(place.top, Math.min(place.bottom, y)), rows: [{ text: this.shortened(u, label), color }] });
    }
    return this.named ? [...shapes, ...gutter(labels, place)] : shapes;
  }

  /** `label`, shortened to the width that names have. */
  shortened({ ctx }, label) {
    return cut(label, NAME_WIDTH - 16, (words) => textWidth(ctx, words));
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
