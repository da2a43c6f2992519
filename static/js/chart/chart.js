// A figure that contains a uPlot chart: two training series (raw and smoothed) and one validation series, over steps.
import { countAbove } from "../lib/scale.js";
import { align } from "../lib/series.js";
import { smooth } from "../lib/smooth.js";
import { marks } from "./chart_marks.js";
import { isPrinting, PAPER_HEIGHT, PAPER_WIDTH } from "../shared/print.js";
import { translucent } from "./palette.js";

const { uPlot } = window; // the page's other script: the minified build, half the size of the module
const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const MOST_DOTS = 150;
const TABLE_ROWS = 200;
const EMPTY = { step: [], value: [] };

export class Chart {
  /**
   * @param {HTMLElement} figure
   * @param {{train: string, val?: string, top: function(Chart): number, show: function(number): string}} kind
   * @param {object} view state shared by all charts of the page: x scale, zoom, marks, colors
   */
  constructor(figure, kind, view) {
    Object.assign(this, { figure, kind, view, train: EMPTY, val: EMPTY, smoothed: [] });
    this.plotBox = figure.querySelector("[data-plot]");
    this.note = figure.querySelector("[data-note]");
    this.keys = Object.fromEntries([...figure.querySelectorAll("[data-key]")].map((node) => [node.dataset.key, node]));
    this.build();
    new ResizeObserver(() => this.resize()).observe(this.plotBox);
    this.bindTable();
    figure.querySelector("[data-png]").addEventListener("click", () => this.savePng());
  }

  build() {
    this.uplot?.destroy();
    this.uplot = new uPlot(this.options(), this.columns(), this.plotBox);
    this.canvas = this.uplot.ctx.canvas;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${this.figure.querySelector("b").textContent}; the table below has the values`);
  }

  /** Draws the given series. Smoothing runs over all points; its half-life is in steps. */
  update(train, val) {
    this.train = train ?? EMPTY;
    this.val = val ?? EMPTY;
    this.smoothed = this.kind.val ? smooth(this.train.step, this.train.value, this.view.halfLife) : [];
    this.top = this.kind.top(this);
    this.uplot.setData(this.columns());
    const above = countAbove([this.train, this.val], this.top);
    this.note.hidden = above === 0;
    this.note.textContent = `▲ ${above} above`;
    this.showKeys();
    if (this.figure.querySelector("[data-table]").open) this.fillTable();
  }

  columns() {
    const steady = this.kind.val ? { step: this.train.step, value: this.smoothed } : EMPTY;
    const [steps, ...values] = align([this.train, steady, this.val]);
    this.steps = steps;
    return [steps.map((step) => this.view.x(step)), ...values];
  }

  options() {
    const { colors } = this.view;
    const axis = { stroke: colors.muted, font: FONT, ticks: { show: false }, border: { show: false } };
    const many = () => this.val.step.length > MOST_DOTS;
    return {
      ...this.size(),
      padding: [10, this.kind.val ? 72 : 12, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "curves" }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      scales: {
        x: { time: false, range: () => this.view.range() },
        y: { range: () => this.range() },
      },
      axes: [
        { ...axis, size: 26, gap: 6, space: 64, grid: { show: false }, values: (_, splits) => splits.map(this.view.tick) },
        {
          ...axis, size: 52, gap: 6, grid: { stroke: colors.line, width: 1 },
          values: (_, splits) => splits.map(this.kind.show), space: this.kind.val ? 48 : 36,
        },
      ],
      series: [
        {},
        {
          stroke: this.kind.val ? translucent(colors.train, 0.25) : colors.train,
          width: 1,
          points: { show: false },
        },
        { stroke: colors.train, width: 1, points: { show: false } },
        {
          stroke: colors.val, width: 2,
          points: { show: () => !many(), size: 5, fill: colors.val, stroke: colors.val, width: 0 },
        },
      ],
      hooks: {
        draw: [(u) => marks(u, this), () => this.exposeCounts()],
        setSelect: [(u) => this.select(u)],
        setCursor: [() => this.showKeys()],
      },
    };
  }

  /** The y range: fixed, or while zoomed the range of the visible values plus a margin. */
  range() {
    const full = [0, this.top ?? 1];
    if (!this.view.zoom || !this.kind.val) return full;
    const [from, to] = this.view.zoom;
    const seen = [this.train, this.val].flatMap(({ step, value }) =>
      value.filter((item, index) => item !== null && this.view.x(step[index]) >= from && this.view.x(step[index]) <= to),
    );
    if (!seen.length) return full;
    const low = seen.reduce((a, b) => Math.min(a, b));
    const high = seen.reduce((a, b) => Math.max(a, b));
    const margin = 0.06 * (high - low || high || 1);
    return [Math.max(0, low - margin), high + margin];
  }

  /** Writes the number of points drawn and the last step to data attributes, which the browser tests wait for. */
  exposeCounts() {
    Object.assign(this.figure.dataset, {
      pointsTrain: this.train.step.length,
      pointsVal: this.val.step.length,
      lastStep: Math.max(this.train.step.at(-1) ?? -1, this.val.step.at(-1) ?? -1),
    });
  }

  select(u) {
    const { left, width } = u.select;
    if (width < 4) return;
    const range = [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.view.setZoom(range);
  }

  /** Shows the values at the cursor, or the latest values when the cursor is outside the chart. */
  showKeys() {
    const at = this.uplot?.cursor.idx ?? null;
    const [, raw, steady, val] = this.uplot?.data ?? [[], [], [], []];
    const before = (values) => {
      let index = at ?? values.length - 1;
      while (index >= 0 && (values[index] === undefined || values[index] === null)) index -= 1;
      return index < 0 ? null : values[index];
    };
    const format = (value) => (value === null ? "" : this.kind.exact(value));
    const rawText = at === null || !this.kind.val ? "" : ` (${format(before(raw))})`;
    this.keys.train.textContent = format(before(this.kind.val ? steady : raw)) + rawText;
    if (this.keys.val) this.keys.val.textContent = format(before(val));
    if (this.keys.x) this.keys.x.textContent = at === null ? "" : this.view.where(this.steps[at]);
  }

  size() {
    if (isPrinting()) return { width: PAPER_WIDTH, height: this.figure.classList.contains("small") ? PAPER_HEIGHT / 2 : PAPER_HEIGHT };
    return { width: this.plotBox.clientWidth, height: this.plotBox.clientHeight };
  }

  resize() {
    const { width, height } = this.size();
    if (width > 0 && (width !== this.uplot.width || height !== this.uplot.height)) this.uplot.setSize({ width, height });
  }

  bindTable() {
    const details = this.figure.querySelector("[data-table]");
    details.addEventListener("toggle", () => details.open && this.fillTable());
  }

  fillTable() {
    const names = ["step", ...(this.view.inEpochs ? ["epoch"] : []), this.kind.val ? "train" : "value", ...(this.kind.val ? ["validation"] : [])];
    const [, raw, , val] = this.uplot.data;
    const cells = this.steps.slice(-TABLE_ROWS).map((step, offset, kept) => {
      const index = this.steps.length - kept.length + offset;
      const row = [String(step), raw[index], ...(this.kind.val ? [val[index]] : [])];
      if (this.view.inEpochs) row.splice(1, 0, this.view.x(step).toFixed(2));
      return row.map((cell) => (typeof cell === "number" ? this.kind.exact(cell) : (cell ?? "")));
    });
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const name of names) head.append(Object.assign(document.createElement("th"), { textContent: name, scope: "col" }));
    const body = table.createTBody();
    for (const row of cells.reverse()) {
      const line = body.insertRow();
      for (const cell of row) line.insertCell().textContent = cell;
    }
    this.figure.querySelector("[data-table-box]").replaceChildren(table);
  }

  /** [text, color] pairs of the legend above an exported picture. */
  legend() {
    const { colors } = this.view;
    return this.kind.val ? [["— train", colors.train], ["— validation", colors.val]] : [];
  }

  savePng() {
    const { colors, name } = this.view;
    const scale = this.canvas.width / this.uplot.width;
    const sheet = document.createElement("canvas");
    const context = sheet.getContext("2d");
    const font = (context.font = `600 ${13 * scale}px system-ui, sans-serif`);
    let [left, row] = [12 * scale, 0];
    const words = [[`${this.figure.querySelector("b").textContent} · ${name}`, colors.ink], ...this.legend()].map(([text, color]) => {
      const { width } = context.measureText(text);
      if (left > 12 * scale && left + width > this.canvas.width) [left, row] = [12 * scale, row + 1];
      const place = { text, color, x: left, y: (20 + 20 * row) * scale };
      left += width + 16 * scale;
      return place;
    });
    const top = (32 + 20 * row) * scale;
    Object.assign(sheet, { width: this.canvas.width, height: this.canvas.height + top });
    context.fillStyle = colors.bg;
    context.fillRect(0, 0, sheet.width, sheet.height);
    context.drawImage(this.canvas, 0, top);
    context.font = font; // setting a canvas's size resets its context
    for (const { text, color, x, y } of words) {
      context.fillStyle = color;
      context.fillText(text, x, y);
    }
    sheet.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${name} ${this.figure.dataset.chart}.png`.replaceAll(/[^\w. -]+/g, "_");
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }
}


