// The charts of a document: each has a line per run and series, drawn live.
import { AXES, kindOf, placed, RunSeries } from "../compare/lines.js";
import { OverlayChart } from "../compare/overlay_chart.js";
import { palette, ROLES } from "../chart/palette.js";
import { beginning, roleOf } from "../lib/overlay.js";
import { Series } from "../lib/series.js";
import { follow } from "../shared/live.js";

const LIVE = ["metrics", "rewind", "deleted", "resync"];
const FIRST_SHARE = 0.02;

/** Draws the charts below `scope`, and follows their runs. Returns a function that loads all series again. */
export async function drawCharts(scope) {
  const box = scope.querySelector("[data-document]");
  const points = new Map(); // by run
  const charts = [...box.querySelectorAll("[data-chart]")].filter((figure) => figure.querySelector("[data-run]")).map((figure) => new DocumentChart(figure, points));
  let frame = 0;
  const draw = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      for (const chart of charts) chart.draw();
    });
  };
  const load = async () => {
    await Promise.all([...points.values()].map((run) => run.load()));
    draw();
  };
  addEventListener("themechange", () => charts.forEach((chart) => chart.build()));
  if (points.size) {
    const change = (id, act) => {
      if (points.has(id)) act(points.get(id));
      draw();
    };
    follow({
      runs: [...points.keys()],
      kinds: LIVE,
      after: Number(box.dataset.seq),
      on: {
        metrics: (event) => change(event.run, (run) => run.append(event.series)),
        rewind: (event) => change(event.run, (run) => run.rewind(event.step)),
        resync: load,
      },
    });
    await load();
  }
  return draw;
}

class DocumentChart {
  constructor(figure, points) {
    this.figure = figure;
    const axis = AXES[figure.dataset.x];
    this.rows = [...figure.querySelectorAll("[data-run]")].map((node) => {
      const { run, series, name, slot } = node.dataset;
      if (!points.has(run)) points.set(run, new RunSeries(run, []));
      points.get(run).series.set(series, new Series());
      return { node, points: points.get(run), output: node.querySelector("[data-value]"), line: { name, label: name, slot: Number(slot), x: [], value: [], best: null, lastStep: -1 } };
    });
    const first = this.rows[0].node.dataset.series;
    this.view = {
      name: figure.querySelector("figcaption b").textContent,
      lines: this.rows.map(({ line }) => line),
      kind: () => kindOf(first),
      resumes: [], checkpoints: [], best: null, note: "", zoom: null, begin: 0, end: 1, settled: 0,
      setZoom: (range) => this.setZoom(range),
      range: () => this.view.zoom ?? [this.view.begin, this.view.end],
      tick: axis.tick, exactX: axis.exact, where: axis.where, axisName: () => axis.name, xTitle: () => axis.name,
      showValues: (values) => values.forEach((value, index) => setText(this.rows[index].output, value === null ? "–" : kindOf(first).exact(value))),
    };
    this.paint();
    this.chart = new OverlayChart(figure, {}, this.view);
    this.reset = figure.querySelector("[data-back-to-live]");
    this.reset.addEventListener("click", () => this.setZoom(null));
    this.chart.plotBox.addEventListener("dblclick", () => this.view.zoom && this.setZoom(null));
    for (const { node, line } of this.rows) {
      node.addEventListener("pointerenter", () => this.chart.highlight(line.slot));
      node.addEventListener("pointerleave", () => this.chart.highlight(null));
    }
  }

  build() {
    this.paint();
    this.chart.build();
    this.draw();
  }

  draw() {
    const { view, rows } = this;
    for (const { node, points, line } of rows) {
      Object.assign(line, placed(points.series.get(node.dataset.series), node.dataset.series, this.figure.dataset.x, node.dataset));
    }
    view.end = Math.max(...view.lines.map((line) => line.x.at(-1) ?? 0)) || 1;
    view.begin = beginning(view.lines, view.end);
    view.settled = kindOf(rows[0].node.dataset.series).bounds.most ? 0 : FIRST_SHARE * view.end;
    const without = view.lines.filter((line) => !line.value.length).length;
    view.note = without === 0 ? "" : `${without} without a value yet`;
    this.chart.update();
  }

  setZoom(range) {
    this.view.zoom = range;
    this.reset.hidden = !range;
    this.draw();
  }

  paint() {
    this.view.colors = palette([...ROLES, ...new Set(this.rows.map(({ line }) => roleOf(line.slot)))]);
    for (const { line } of this.rows) line.color = this.view.colors[roleOf(line.slot)];
  }
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
