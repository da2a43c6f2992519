// Parallel coordinates of runs. A range that is dragged on an axis dims the lines outside of it.
import { cut, dashOf } from "../lib/overlay.js";
import { scaled } from "../lib/parallel.js";

const TOP = 44;
const LENGTH = 220; // pixels of an axis
const BOTTOM = 12;
const SIDE = 72;
const LEAST = 116; // pixels between two axes
const NAME = 20; // characters
const LEAST_DRAG = 3;
const brushes = new Map(); // [from, to] in shares of an axis, by its title
let isOpen = null; // as chosen by hand

/** Draws what is within `scope`, anew whenever its width changes. `point` is called with the slot of the line that is pointed at, or null. */
export function drawParallel(scope, point) {
  const box = scope.querySelector("[data-parallel]");
  if (!box) return;
  const { runs, axes } = JSON.parse(box.dataset.parallel);
  const data = { box, point, runs, svg: box.querySelector("svg"), axes: axes.map((axis) => ({ ...axis, ...scaled(axis) })) };
  if (isOpen !== null) box.open = isOpen;
  box.addEventListener("toggle", () => (isOpen = box.open));
  new ResizeObserver(() => draw(data)).observe(box.querySelector(".scroll-x"));
}

/** Marks the line of a slot and names its run; null marks none. */
export function lightParallel(slot) {
  const name = document.querySelector("[data-pointed-run]");
  if (!name) return;
  name.textContent = "";
  for (const line of document.querySelectorAll("[data-parallel] .run-line")) {
    const isMeant = Number(line.dataset.slot) === slot;
    line.toggleAttribute("data-lit", isMeant);
    if (isMeant) name.textContent = line.dataset.name;
  }
}

function draw(data) {
  const { svg, axes, runs, point } = data;
  const width = Math.max(svg.parentElement.clientWidth, 2 * SIDE + LEAST * (axes.length - 1));
  const height = TOP + LENGTH + BOTTOM;
  for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) svg.setAttribute(name, value);
  axes.forEach((axis, index) => (axis.x = SIDE + ((width - 2 * SIDE) * index) / Math.max(1, axes.length - 1)));
  const paths = runs.map((run, index) => pathOf(axes, index));
  const lines = runs.map(({ slot, name, rank }, index) => element("path", { class: `run-line ${rank === null ? `slot-${slot}` : `rank-${rank}`}`, d: paths[index], "stroke-dasharray": rank === null ? dashOf(slot).join(" ") : "", "data-slot": slot, "data-name": name }));
  const targets = runs.map(({ slot }, index) => {
    const target = element("path", { class: "run-target", d: paths[index] });
    target.addEventListener("pointerenter", () => point(slot));
    target.addEventListener("pointerleave", () => point(null));
    return target;
  });
  svg.replaceChildren(...axes.map(({ x }) => element("path", { class: "axis-line", d: `M${x} ${y(1)}V${y(0)}` })), ...lines, ...targets, ...axes.map(axisOf), ...axes.map((axis) => brushOf(axis, data)));
  dim(data);
}

function y(share) {
  return TOP + LENGTH * (1 - share);
}

/** A line over all axes, with gaps where the run has no value. */
function pathOf(axes, index) {
  let path = "";
  axes.forEach(({ x, shares }, at) => {
    const share = shares[index];
    if (share !== null) path += `${at > 0 && axes[at - 1].shares[index] !== null ? "L" : "M"}${x.toFixed(1)} ${y(share).toFixed(1)}`;
  });
  return path;
}

/** The texts of an axis, above the lines. Left of the first axis there are none. */
function axisOf({ x, name, title, unit, scale, ticks }, at) {
  const words = [unit, scale === "log" ? "log" : ""].filter(Boolean).join(", ");
  const group = element("g", { transform: `translate(${x.toFixed(1)} 0)`, class: "axis" });
  const head = element("text", { y: 12, class: "name" }, cut(name, NAME, (text) => text.length));
  head.append(element("title", {}, title));
  group.append(head, element("text", { y: 28 }, words));
  for (const [share, text] of ticks) {
    const short = cut(text, at === 0 ? NAME / 2 : NAME, (part) => part.length);
    group.append(element("path", { d: `M-3 ${y(share)}h6` }), element("text", { class: at === 0 ? "tick first" : "tick", x: at === 0 ? -8 : 8, y: y(share) }, short));
  }
  return group;
}

/** The part of an axis where a range is dragged, and the range. */
function brushOf({ x, title }, data) {
  const group = element("g", { class: "brush", "data-axis": title, transform: `translate(${x.toFixed(1)} 0)` });
  const area = element("rect", { x: -12, width: 24, y: TOP - 8, height: LENGTH + 16, class: "brush-area" });
  const range = element("rect", { x: -6, width: 12, class: "brush-range" });
  const show = () => {
    const [from, to] = brushes.get(title) ?? [0, 0];
    range.setAttribute("y", y(to));
    range.setAttribute("height", LENGTH * (to - from));
  };
  const shareAt = (event) => Math.max(0, Math.min(1, 1 - (event.clientY - area.getBoundingClientRect().top - 8) / LENGTH));
  area.addEventListener("pointerdown", (event) => {
    const start = shareAt(event);
    area.setPointerCapture(event.pointerId);
    brushes.delete(title);
    area.onpointermove = (move) => {
      const ends = [start, shareAt(move)].sort((a, b) => a - b);
      if (LENGTH * (ends[1] - ends[0]) >= LEAST_DRAG) brushes.set(title, ends);
      show();
      dim(data);
    };
    area.onlostpointercapture = () => (area.onpointermove = null);
    show();
    dim(data);
  });
  show();
  group.append(range, area);
  return group;
}

/** Dims the lines that have no value within the range of some axis. */
function dim({ box, svg, axes, runs }) {
  const ranges = axes.filter((axis) => brushes.has(axis.title)).map((axis) => [axis.shares, ...brushes.get(axis.title)]);
  const inside = runs.map((_, index) => ranges.every(([shares, from, to]) => shares[index] !== null && shares[index] >= from - 1e-6 && shares[index] <= to + 1e-6));
  svg.querySelectorAll(".run-line").forEach((line, index) => line.toggleAttribute("data-dim", !inside[index]));
  box.querySelector("[data-selected]").textContent = ranges.length ? `${inside.filter(Boolean).length} of ${runs.length} runs in the selected ranges.` : "";
}

function element(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
