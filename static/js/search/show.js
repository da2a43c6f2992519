// A search's page: parallel coordinates, and a refresh when one of its trials changes.
import { drawParallel, lightParallel } from "../chart/parallel.js";
import { follow } from "../shared/live.js";
import { request } from "../shared/request.js";

const PAUSE = 1000; // ms between two refreshes, at least
let timer = 0;

draw();
follow({
  kinds: ["search", "created", "status", "resync"],
  on: {
    search: ({ search }) => search === live().dataset.search && soon(),
    created: (run) => isTrial(run) && soon(),
    status: (run) => isTrial(run) && soon(),
    resync: soon,
  },
});

function live() {
  return document.querySelector("[data-live]");
}

function draw() {
  drawParallel(document, lightParallel);
}

/** Whether a run is a trial of this search. */
function isTrial({ search }) {
  return search === live().dataset.search;
}

function soon() {
  if (!timer) timer = setTimeout(refresh, PAUSE);
}

/** Replaces the page's content. It stays as it is while a field has the focus or a dialog asks. */
async function refresh() {
  timer = 0;
  if (live().querySelector("input:focus, button:focus") || document.querySelector("dialog[open]")) return soon();
  const { ok, body } = await request(location.href, { as: "text", quiet: true });
  if (!ok) return;
  const fresh = new DOMParser().parseFromString(body, "text/html").querySelector("[data-live]");
  const opened = [...live().querySelectorAll("details")].map((box) => box.open);
  live().replaceWith(fresh);
  fresh.querySelectorAll("details").forEach((box, index) => (box.open = opened[index] ?? box.open));
  draw();
}
