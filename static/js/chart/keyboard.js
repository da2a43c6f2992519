// The keys of a chart that has the focus: arrows move the cursor, + and - zoom, 0 shows everything.
const FAR = 10;

export function bindKeys(chart) {
  const { plotBox, view } = chart;
  if (!view.state) return;
  plotBox.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? FAR : 1;
    const act = {
      ArrowRight: () => move(chart, step),
      ArrowLeft: () => move(chart, -step),
      Home: () => move(chart, -Infinity),
      End: () => move(chart, Infinity),
      ArrowUp: () => zoomY(chart, 0.5),
      ArrowDown: () => zoomY(chart, 2),
      "+": () => zoomX(chart, 0.5),
      "=": () => zoomX(chart, 0.5),
      "-": () => zoomX(chart, 2),
      0: () => view.resetZoom(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  plotBox.addEventListener("blur", () => {
    chart.tooltip.activate(false);
    chart.uplot.setCursor({ left: -10, top: -10 }, true, true);
  });
}

function move(chart, by) {
  const { uplot } = chart;
  const [xs] = uplot.data;
  if (!xs.length) return;
  const from = uplot.cursor.idx ?? (by > 0 ? -1 : xs.length);
  const at = Math.min(xs.length - 1, Math.max(0, from + by));
  const { raw, smoothed, val } = chart.valuesAt(at);
  chart.tooltip.activate(true);
  uplot.setCursor({ left: uplot.valToPos(xs[at], "x"), top: uplot.valToPos(smoothed ?? raw ?? val ?? 0, "y") }, true, true);
}

function zoomX({ uplot, view }, factor) {
  const { min, max } = uplot.scales.x;
  const middle = uplot.cursor.idx === null || uplot.cursor.idx === undefined ? (min + max) / 2 : uplot.data[0][uplot.cursor.idx];
  const [from, to] = scaled(middle, min, max, factor);
  const [first, last] = view.whole();
  view.setZoom(from <= first && to >= last ? null : [Math.max(first, from), Math.min(last, to)]);
}

function zoomY({ uplot, view, id }, factor) {
  const { min, max } = uplot.scales.y;
  view.setZoom(undefined, scaled((min + max) / 2, min, max, factor), id);
}

function scaled(middle, min, max, factor) {
  return [middle - factor * (middle - min), middle + factor * (max - middle)];
}
