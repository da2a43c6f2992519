// A chart as a picture: PNG with its legend, or SVG.
import { layout } from "./chart_marks.js";

const HEAD = 32;
const FAMILY = "system-ui, sans-serif";

export function savePng(chart) {
  const { view, canvas, uplot } = chart;
  const scale = canvas.width / uplot.width;
  const sheet = document.createElement("canvas");
  const context = sheet.getContext("2d");
  const font = (context.font = `600 ${13 * scale}px ${FAMILY}`);
  let [left, row] = [12 * scale, 0];
  const words = [[`${chart.title} · ${view.name}`, view.colors.ink], ...chart.legend()].map(([text, color]) => {
    const { width } = context.measureText(text);
    if (left > 12 * scale && left + width > canvas.width) [left, row] = [12 * scale, row + 1];
    const place = { text, color, x: left, y: (20 + 20 * row) * scale };
    left += width + 16 * scale;
    return place;
  });
  const top = (HEAD + 20 * row) * scale;
  Object.assign(sheet, { width: canvas.width, height: canvas.height + top });
  context.fillStyle = view.colors.bg;
  context.fillRect(0, 0, sheet.width, sheet.height);
  context.drawImage(canvas, 0, top);
  context.font = font; // setting a canvas's size resets its context
  for (const { text, color, x, y } of words) {
    context.fillStyle = color;
    context.fillText(text, x, y);
  }
  sheet.toBlob((blob) => save(blob, chart, "png"));
}

export function saveSvg(chart) {
  save(new Blob([svg(chart)], { type: "image/svg+xml" }), chart, "svg");
}

function save(blob, { view, id }, extension) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${view.name} ${id}.${extension}`.replaceAll(/[^\w. -]+/g, "_");
  link.click();
  URL.revokeObjectURL(link.href);
}

function svg(chart) {
  const { uplot: u, view } = chart;
  const { colors } = view;
  const place = layout(u);
  const legend = chart.legend().map(([words, color]) => `<tspan dx="16" fill="${color}">${escaped(words)}</tspan>`).join("");
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${u.width}" height="${u.height + HEAD}" viewBox="0 ${-HEAD} ${u.width} ${u.height + HEAD}" font-family="${FAMILY}" font-size="11">`,
    `<rect y="${-HEAD}" width="100%" height="100%" fill="${colors.bg}"/>`,
    text(`${chart.title} · ${view.name}`, 12, -12, colors.ink, "start", true, legend),
    `<clipPath id="plot"><rect x="${place.left}" y="${place.top - 1}" width="${place.width}" height="${place.height + 2}"/></clipPath>`,
    ...axes(u, place, colors),
    `<g clip-path="url(#plot)" fill="none" stroke-linejoin="round">`,
    ...u.series.slice(1).map((series, index) => line(u, place, u.data[index + 1], series)),
    "</g>",
    ...chart.marks(u).map(shape),
    "</svg>",
  ];
  return parts.join("\n");
}

function axes(u, place, colors) {
  const [x, y] = u.axes;
  const parts = [];
  (y._splits ?? []).forEach((value, index) => {
    const at = place.y(value);
    parts.push(`<path d="M${place.left} ${at}H${place.right}" stroke="${colors.line}"/>`, text(y._values[index], place.left - 6, at, colors.muted, "end"));
  });
  (x._splits ?? []).forEach((value, index) => parts.push(text(x._values[index], place.x(value), place.bottom + 14, colors.muted, "middle")));
  if (x.label) parts.push(text(x.label, (place.left + place.right) / 2, place.bottom + 30, colors.muted, "middle"));
  if (y.label) parts.push(`<g transform="rotate(-90)">${text(y.label, -(place.top + place.bottom) / 2, 10, colors.muted, "middle")}</g>`);
  return parts;
}

function line(u, place, values, series) {
  let [path, isOn] = ["", false];
  values.forEach((value, index) => {
    if (value === undefined) return;
    if (value !== null) path += `${isOn ? "L" : "M"}${place.x(u.data[0][index]).toFixed(1)} ${place.y(value).toFixed(1)}`;
    isOn = value !== null;
  });
  const color = typeof series._stroke === "string" ? series._stroke : series.stroke(u);
  return `<path d="${path}" stroke="${color}" stroke-width="${series.width}" stroke-dasharray="${(series.dash ?? []).join(" ")}"/>`;
}

function shape({ line: ends, ring, rect, polygon, text: words, x, y, color, fill, dash = [], alpha = 1, bold }) {
  const paint = `stroke="${color}" stroke-dasharray="${dash.join(" ")}"`;
  if (ends) return `<path d="M${ends[0]} ${ends[1]}L${ends[2]} ${ends[3]}" ${paint}/>`;
  if (ring) return `<circle cx="${ring[0]}" cy="${ring[1]}" r="${ring[2]}" fill="${fill}" stroke="${color}" stroke-width="2"/>`;
  if (rect) return `<rect x="${rect[0]}" y="${rect[1]}" width="${rect[2]}" height="${rect[3]}" fill="${color}" opacity="${alpha}"/>`;
  if (polygon) return `<path d="M${polygon.map((corner) => corner.join(" ")).join("L")}Z" fill="${color}"/>`;
  return text(words, x, y, color, "start", bold);
}

function text(words, x, y, color, anchor, bold = false, more = "") {
  return `<text x="${x}" y="${y}" fill="${color}" text-anchor="${anchor}" dominant-baseline="middle"${bold ? ' font-weight="600"' : ""}>${escaped(words)}${more}</text>`;
}

function escaped(words) {
  return String(words ?? "").replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
