// The Errors tab: the confusion matrix on a canvas, with mouse and keyboard input, and the selection of an epoch.
import { place, shade } from "../lib/matrix.js";
import { count } from "../lib/format.js";
import { palette } from "../chart/palette.js";
import { runId, watchRun } from "./show.js";
import { toast } from "../shared/page.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const MOST_LABELED = 24; // classes
const MOST_NUMBERED = 12;

const tab = document.querySelector("[data-errors]");
const canvas = tab.querySelector("canvas");

watchRun({ checkpoint: offerNewer, status: offerFirst });
tab.querySelector("[data-step-form] select")?.addEventListener("change", (event) => event.target.form.requestSubmit());
if (canvas) await showMatrix();

async function showMatrix() {
  const { ok, body: matrix } = await request(`${root}/api/runs/${runId}/confusion?step=${tab.dataset.step}`);
  if (!ok) return;
  const side = matrix.order.length;
  const rank = new Map(matrix.order.map((index, position) => [index, position]));
  const counts = new Map(matrix.cells.map(([label, guess, count]) => [`${rank.get(label)},${rank.get(guess)}`, count]));
  const totals = new Array(side).fill(0);
  for (const [label, , count] of matrix.cells) totals[rank.get(label)] += count;
  const [chosenLabel, chosenGuess] = (tab.dataset.cell || "-1,-1").split(",").map(Number);
  let at = rank.has(chosenLabel) ? [rank.get(chosenLabel), rank.get(chosenGuess)] : null;

  function draw() {
    const colors = palette();
    const context = canvas.getContext("2d");
    const cell = canvas.width / side;
    context.fillStyle = colors.surface;
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (const [key, count] of counts) {
      const [row, column] = key.split(",").map(Number);
      context.globalAlpha = shade(count / totals[row]);
      context.fillStyle = row === column ? colors.train : colors.val;
      context.fillRect(column * cell, row * cell, Math.ceil(cell), Math.ceil(cell));
    }
    context.globalAlpha = 1;
    if (side <= MOST_NUMBERED) drawCounts(context, cell, colors);
    if (matrix.groups) drawGroups(context, cell, colors);
    if (at) {
      context.strokeStyle = colors.ink;
      context.lineWidth = 2;
      context.strokeRect(at[1] * cell - 1, at[0] * cell - 1, cell + 2, cell + 2);
    }
    canvas.dataset.drawn = String(counts.size);
  }

  function drawCounts(context, cell, colors) {
    context.fillStyle = colors.ink;
    context.font = `${Math.round(Math.min(28, cell / 3))}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const [key, count] of counts) {
      const [row, column] = key.split(",").map(Number);
      context.fillText(String(count), (column + 0.5) * cell, (row + 0.5) * cell);
    }
  }

  function drawGroups(context, cell, colors) {
    context.fillStyle = colors["line-strong"];
    matrix.order.forEach((index, position) => {
      if (position === 0 || matrix.groups[index] === matrix.groups[matrix.order[position - 1]]) return;
      context.fillRect(0, position * cell, canvas.width, 1);
      context.fillRect(position * cell, 0, 1, canvas.height);
    });
  }

  function move(to) {
    at = to;
    draw();
    const [row, column] = at;
    const count = counts.get(`${row},${column}`) ?? 0;
    const [label, guess] = [matrix.classes[matrix.order[row]], matrix.classes[matrix.order[column]]];
    tab.querySelector("[data-readout]").textContent = `${label} → ${guess}: ${count} of ${totals[row]}`;
  }

  function open() {
    if (!at) return;
    const address = new URL(location.href);
    address.searchParams.set("tab", "errors");
    address.searchParams.set("step", tab.dataset.step);
    address.searchParams.set("cell", `${matrix.order[at[0]]},${matrix.order[at[1]]}`);
    address.hash = "cell";
    location.assign(address);
  }

  canvas.addEventListener("pointermove", (event) => move(place(event, canvas.getBoundingClientRect(), side)));
  canvas.addEventListener("click", (event) => {
    move(place(event, canvas.getBoundingClientRect(), side));
    open();
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Enter") open();
    if (!step) return;
    event.preventDefault();
    const [row, column] = at ?? [0, 0];
    const within = (value) => Math.min(side - 1, Math.max(0, value));
    move(at ? [within(row + step[0]), within(column + step[1])] : [0, 0]);
  });
  addEventListener("themechange", draw);
  draw();
  if (side <= MOST_LABELED) showLabels(matrix.order.map((index) => matrix.classes[index]));
}

/** The names of the classes beside the rows and below the columns. */
function showLabels(names) {
  for (const list of tab.querySelectorAll(".matrix-rows, .matrix-columns")) {
    list.replaceChildren(...names.map((name) => Object.assign(document.createElement("li"), { textContent: name, title: name })));
  }
}

let offered = 0;
/** Offers a newer evaluation in a message, without replacing the one on the page. */
function offerNewer({ step }) {
  if (step <= Math.max(offered, Number(tab.dataset.step))) return;
  offered = step;
  const address = new URL(location.href);
  address.searchParams.set("step", step);
  address.searchParams.delete("page");
  toast(`Step ${count(step)} has been evaluated.`, { label: "Show", act: () => location.assign(address) });
}

function offerFirst(run) {
  if (tab.dataset.step === "0" && run.epoch > 0) location.reload();
}
