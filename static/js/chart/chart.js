// A figure that contains a uPlot chart: a training series (raw and smoothed) and a validation series.
import { increments } from "../lib/axis.js";
import { extremes, logRange, logTicks, niceRange, outlierFence } from "../lib/scale.js";
import { align } from "../lib/series.js";
import { extend, halfLifeOf, smooth } from "../lib/smooth.js";
import { isPrinting, PAPER_HEIGHT, PAPER_WIDTH } from "../shared/print.js";
import { FONT, gutterWidth, marks, paint } from "./chart_marks.js";
import { bindKeys } from "./keyboard.js";
import { translucent } from "./palette.js";
import { Tooltip } from "./tooltip.js";

const { uPlot } = window; // the page's other script: the minified build, half the size of the module
const MOST_DOTS = 150;
const GUTTER = 72; // pixels right of the plot, for the best value: more if its step is a long number
const NARROW = 440;
const LABEL = { labelFont: FONT, labelSize: 16, labelGap: 0 };
const RAW_ALPHA = 0.45;
const LEAST_DRAG = 4;
const EMPTY = { step: [], value: [], time: [] };

export class Chart {
  /**
   * @param {HTMLElement} figure
   * @param {object} kind how the values are shown: {val, unit, bounds, isWhole, smooth, chance, tick, show, exact}
   * @param {object} view shared by all charts of the page: x axis, zoom, marks, colors, and `state` (lib/curve_state.js)
   */
  constructor(figure, kind, view) {
    Object.assign(this, { figure, kind, view, id: figure.dataset.chart, train: EMPTY, val: EMPTY, smoothed: [], fence: Infinity });
    this.plotBox = figure.querySelector("[data-plot]");
    this.note = figure.querySelector("[data-note]");
    this.keys = Object.fromEntries([...figure.querySelectorAll("[data-key]")].map((node) => [node.dataset.key, node]));
    this.tooltip = new Tooltip(this);
    this.build();
    new ResizeObserver(() => this.resize()).observe(this.plotBox);
    this.table = figure.querySelector("[data-table]");
    this.table.addEventListener("toggle", () => this.table.open && this.fillTable());
    // What is not needed to draw is fetched when it is asked for.
    figure.querySelector("[data-png]").addEventListener("click", async () => (await import("./download.js")).savePng(this));
    figure.querySelector("[data-svg]")?.addEventListener("click", async () => (await import("./download.js")).saveSvg(this));
    bindKeys(this);
  }

  get title() {
    return this.figure.querySelector("b").textContent;
  }

  get isLog() {
    return this.view.state?.log.includes(this.id) ?? false;
  }

  build() {
    this.uplot?.destroy();
    this.uplot = new uPlot(this.options(), this.columns(), this.plotBox);
    this.canvas = this.uplot.ctx.canvas;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${this.title}; the table below has the values`);
    this.uplot.over.addEventListener("mousedown", () => (this.isDragging = true));
    this.tooltip.follow(this.uplot);
  }

  update(train, val) {
    this.train = train ?? EMPTY;
    this.val = val ?? EMPTY;
    this.fence = this.kind.bounds ? Infinity : (this.train.fence ?? outlierFence(this.train.value, this.kind.keepsStart));
    this.smoothed = this.averages();
    this.uplot.setData(this.columns());
    this.showKeys();
    if (this.table.open) this.fillTable();
  }

  /** The average of the training series: the server's if the page does not hold all points, none until it is there. */
  averages() {
    const { train, fence } = this;
    const weight = this.view.state?.smooth ?? 0;
    if (!this.kind.smooth || weight === 0) return [];
    const halfLife = halfLifeOf(train.step, weight);
    if (train.isComplete) return smooth(train.step, train.value, halfLife, fence);
    if (!train.averages) return [];
    extend(train.step, train.value, train.averages, halfLife, fence);
    return train.averages;
  }

  columns() {
    const steady = this.smoothed.length ? { step: this.train.step, value: this.smoothed } : EMPTY;
    const [steps, ...values] = align([this.train, steady, this.val]);
    this.steps = steps;
    const drawable = this.isLog ? (column) => column.map((value) => (value <= 0 ? null : value)) : (column) => column;
    return [steps.map((step) => this.view.x(step)), ...values.map(drawable)];
  }

  options() {
    const { colors } = this.view;
    const size = this.size();
    const axis = { stroke: colors.muted, font: FONT, ticks: { show: false }, border: { show: false }, ...LABEL };
    const yLabel = size.width > NARROW ? this.kind.unit : undefined;
    const filter = (_, splits) => (this.isLog ? logTicks(splits) : splits);
    const many = () => this.val.step.length > MOST_DOTS;
    return {
      ...size,
      padding: [16, this.kind.val ? ({ ctx }) => gutterWidth(ctx, this.view.best === null ? "" : this.view.bestName(), GUTTER) : 12, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: "curves" }, points: { size: 6 },
        drag: { x: true, y: Boolean(this.view.state), uni: 30, dist: LEAST_DRAG, setScale: false },
      },
      scales: {
        x: { time: false, range: () => this.view.range() },
        y: { range: () => this.range(), distr: this.isLog ? 3 : 1 },
      },
      axes: [
        {
          ...axis, size: 24, gap: 6, space: 72, grid: { show: false }, label: this.view.xTitle?.(), incrs: () => increments(this.view.axis),
          values: (u, splits) => splits.map((value) => this.view.tick(value, u.scales.x.max - u.scales.x.min)),
        },
        {
          ...axis, size: 52, gap: 6, grid: { stroke: colors.line, width: 1, filter }, label: yLabel, filter,
          values: (_, splits) => splits.map((value) => (value === null ? "" : this.kind.tick(value, splits))), space: this.kind.val ? 44 : 30,
        },
      ],
      series: [
        {},
        { stroke: () => (this.smoothed.length ? translucent(colors.train, RAW_ALPHA) : colors.train), width: 1, points: { show: false } },
        { stroke: colors.train, width: 1.5, points: { show: false } },
        {
          stroke: colors.val, width: 2,
          points: { show: () => !many(), size: 5, fill: colors.val, stroke: colors.val, width: 0 },
        },
      ],
      hooks: {
        draw: [(u) => paint(u.ctx, this.marks(u)), (u) => this.exposeCounts(u)],
        setSelect: [(u) => this.select(u)],
        setCursor: [() => this.showKeys()],
      },
    };
  }

  marks(u) {
    return marks(u, this);
  }

  /** The y range: chosen by zoom or toggle, else fitted to the visible values up to the outliers. */
  range() {
    const zoomed = this.view.state?.y[this.id];
    if (zoomed && (!this.isLog || zoomed[0] > 0)) return zoomed;
    const { log, bounds } = { log: this.isLog, bounds: this.kind.bounds };
    if (!log && bounds && (this.kind.isWhole || this.view.state.whole.includes(this.id))) return [bounds.least, bounds.most];
    const ends = [this.train, this.val].map((series) => {
      const seen = this.visible(series).filter((value) => !log || value > 0);
      return extremes(seen, log || bounds ? Infinity : outlierFence(seen, this.kind.keepsStart));
    });
    const values = ends.flatMap((pair) => pair ?? []);
    if (!values.length) return log ? [0.1, 1] : [0, 1];
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return log ? logRange(low, high) : niceRange(low, high, bounds);
  }

  /** The finite values of a series within the x range that is zoomed to. */
  visible({ step, value }) {
    const [from, to] = this.view.zoom ?? [-Infinity, Infinity];
    return value.filter((item, index) => item !== null && this.view.x(step[index]) >= from && this.view.x(step[index]) <= to);
  }

  /** Writes what is drawn to data attributes, which the browser tests wait for. */
  exposeCounts({ scales: { x, y } }) {
    Object.assign(this.figure.dataset, {
      pointsTrain: this.train.step.length,
      pointsVal: this.val.step.length,
      pointsSmoothed: this.smoothed.length,
      lastStep: Math.max(this.train.step.at(-1) ?? -1, this.val.step.at(-1) ?? -1),
      xRange: `${x.min}..${x.max}`,
      yRange: `${y.min}..${y.max}`,
    });
  }

  /** Zooms to the rectangle that was dragged: to its x on all charts, to its y on this one. */
  select(u) {
    const { left, width, top, height } = u.select;
    const whole = { width: u.over.clientWidth, height: u.over.clientHeight };
    const isMine = this.isDragging;
    this.isDragging = false;
    if (width < LEAST_DRAG && height < LEAST_DRAG) return;
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    if (!isMine) return;
    const x = width >= LEAST_DRAG && width < whole.width - 1 ? [u.posToVal(left, "x"), u.posToVal(left + width, "x")] : undefined;
    const y = height >= LEAST_DRAG && height < whole.height - 1 ? [u.posToVal(top + height, "y"), u.posToVal(top, "y")] : undefined;
    if (x || y) this.view.setZoom(x, y, this.id);
  }

  /** The values at an index of the columns, or the last ones before it; null where there is none. */
  valuesAt(at) {
    const [, ...columns] = this.uplot.data;
    const [raw, smoothed, val] = columns.map((values) => {
      let index = at ?? values.length - 1;
      while (index >= 0 && (values[index] === undefined || values[index] === null)) index -= 1;
      return index < 0 ? null : values[index];
    });
    return { raw, smoothed, val };
  }

  /** Shows the latest values beside the title, and those at the pointer in the tooltip. */
  showKeys() {
    if (!this.uplot) return;
    const at = this.uplot.cursor.idx ?? null;
    const { raw, smoothed, val } = this.valuesAt(at);
    const text = (value) => (value === null ? "" : this.kind.show(value));
    if (this.keys.train) this.keys.train.textContent = text(smoothed ?? raw);
    if (this.keys.val) this.keys.val.textContent = text(val);
    this.tooltip.show(at);
  }

  /** [name, text] pairs of the tooltip. */
  tooltipRows(at) {
    const { raw, smoothed, val } = this.valuesAt(at);
    const rows = [["smoothed", smoothed], [this.kind.val ? "train" : "value", raw], ["validation", val]];
    return [...rows.filter(([, value]) => value !== null).map(([name, value]) => [name, this.kind.show(value)]), ...this.view.whereRows(this.steps[at])];
  }

  size() {
    if (isPrinting()) return { width: PAPER_WIDTH, height: this.figure.classList.contains("small") ? PAPER_HEIGHT / 2 : PAPER_HEIGHT };
    return { width: this.plotBox.clientWidth, height: this.plotBox.clientHeight };
  }

  resize() {
    const { width, height } = this.size();
    if (width === 0 || (width === this.uplot.width && height === this.uplot.height)) return;
    if (width > NARROW === this.uplot.width > NARROW) this.uplot.setSize({ width, height });
    else this.build();
  }

  async fillTable() {
    const { fillTable } = await import("./chart_table.js");
    const { kind, view, steps } = this;
    const [, raw, smoothed, val] = this.uplot.data;
    const columns = [[kind.val ? "train" : "value", raw], ...(this.smoothed.length ? [["smoothed", smoothed]] : []), ...(kind.val ? [["validation", val]] : [])];
    const text = (value) => (typeof value === "number" ? kind.exact(value) : "");
    fillTable(this.figure, [...view.columnNames(), ...columns.map(([name]) => name)], steps.length, (index) => [
      ...view.columnTexts(steps[index]), ...columns.map(([, column]) => text(column[index])),
    ]);
  }

  /** [text, color] pairs of the legend above an exported picture. */
  legend() {
    const { colors } = this.view;
    return this.kind.val ? [["— train", colors.train], ["— validation", colors.val]] : [];
  }
}
