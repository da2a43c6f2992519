// A page with a document: its charts are live, and what stands in tables is fetched again while a run continues.
import { drawParallel, lightParallel } from "../chart/parallel.js";
import { localizeTimes } from "../shared/page.js";
import { request } from "../shared/request.js";
import { drawCharts } from "./charts.js";

const REFRESH_MS = 10_000;
const REFRESHED = "[data-runs-table], [data-refreshed], [data-tables]";

const draw = await drawCharts(document);
drawTables();
if (isMoving(document)) setTimeout(refresh, REFRESH_MS);

async function refresh() {
  const { ok, body } = document.hidden ? { ok: false } : await request(location.href, { as: "text", quiet: true });
  if (ok) show(new DOMParser().parseFromString(body, "text/html"));
  if (isMoving(document)) setTimeout(refresh, REFRESH_MS);
}

function show(fresh) {
  localizeTimes(fresh);
  replace(fresh, REFRESHED);
  drawTables();
  const [here, there] = [document, fresh].map((page) => [...page.querySelectorAll(".legend [data-run]")]);
  if (here.length === there.length) here.forEach((node, index) => Object.assign(node.dataset, there[index].dataset));
  document.querySelector("[data-document]").toggleAttribute("data-moving", isMoving(fresh));
  draw();
}

/** Replaces the parts by those of the fresh page, except one that the keyboard focus is in. */
function replace(fresh, selector) {
  const [here, there] = [document, fresh].map((page) => [...page.querySelectorAll(selector)]);
  here.forEach((node, index) => there[index] && !node.contains(document.activeElement) && node.replaceWith(there[index]));
}

/** The plots of a comparison's tables. */
function drawTables() {
  const tables = document.querySelector("[data-tables]");
  if (tables) drawParallel(tables, lightParallel);
}

function isMoving(page) {
  return page.querySelector("[data-document]").hasAttribute("data-moving");
}
