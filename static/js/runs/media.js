// The Media tab: the images and texts of the step that each slider chooses.
import { count } from "../lib/format.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";
import { runId, watchRun } from "./show.js";

const REFRESH_MS = 1000;
const sections = new Map([...document.querySelectorAll("[data-key-name]")].map((node) => [node.dataset.keyName, node]));
const stale = new Set(); // names that something new was logged under
let timer = 0;

for (const node of sections.values()) node.querySelector("[data-media-step]")?.addEventListener("input", () => choose(node));
watchRun({ media: ({ key }) => refreshSoon(key), resync: () => location.reload() });

/** The latest slider position wins, however the answers arrive. */
async function choose(node) {
  const slider = node.querySelector("[data-media-step]");
  const step = JSON.parse(node.dataset.steps)[Number(slider.value)];
  node.querySelector("[data-media-step-value]").textContent = count(step);
  node.dataset.wanted = step;
  const query = new URLSearchParams({ name: node.dataset.keyName, step });
  const { ok, body } = await request(`${root}/api/scripts/${runId}/media?${query}`);
  if (ok && node.dataset.wanted === String(step)) node.querySelector("[data-media-items]").replaceChildren(...body.map(element));
}

function element({ kind, name, step, text, sha256, is_here: isHere }) {
  if (kind === "text") return Object.assign(document.createElement("pre"), { className: "code", tabIndex: 0, textContent: text });
  const figure = document.createElement("figure");
  if (isHere) figure.append(Object.assign(document.createElement("img"), { src: `${root}/api/scripts/${runId}/files/${sha256}`, alt: text || `${name} at step ${step}` }));
  else figure.append(Object.assign(document.createElement("p"), { className: "muted", textContent: "not received yet" }));
  if (text) figure.append(Object.assign(document.createElement("figcaption"), { textContent: text }));
  return figure;
}

function refreshSoon(name) {
  stale.add(name);
  timer ||= setTimeout(refresh, REFRESH_MS);
}

/** A slider that is at its end stays there. A name that is new, or has its first slider, needs the page anew. */
async function refresh() {
  timer = 0;
  const { ok, body } = await request(`${root}/api/scripts/${runId}/media/names`, { quiet: true });
  if (!ok) return;
  const fresh = new Map(body.map((one) => [one.name, one]));
  for (const name of stale) {
    const node = sections.get(name);
    const slider = node?.querySelector("[data-media-step]");
    const { steps } = fresh.get(name) ?? { steps: [] };
    if (!slider && steps.length > 1) return location.reload();
    if (!slider) continue;
    const wasAtEnd = slider.value === slider.max;
    node.dataset.steps = JSON.stringify(steps);
    slider.max = String(steps.length - 1);
    if (wasAtEnd) slider.value = slider.max;
    if (wasAtEnd) choose(node);
  }
  stale.clear();
}
