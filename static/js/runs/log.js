// The live log. It scrolls with new lines until the user scrolls up, and again from the bottom.
import { clockSeconds } from "../lib/format.js";
import { runId, watchRun } from "./show.js";

const KEPT_LINES = 5000;
const SLACK = 24;

const panel = document.querySelector("[data-log]");
const box = panel.querySelector("[data-log-lines]");
const followButton = panel.querySelector("[data-log-follow]");
const search = panel.querySelector("[data-log-search]");
let lastKey = Number(box.lastElementChild?.dataset.key ?? 0);
let following = true;

watchRun({ log: ({ lines }) => add(lines), resync: catchUp, connected: catchUp });

box.addEventListener("scroll", () => {
  following = box.scrollHeight - box.scrollTop - box.clientHeight < SLACK;
  followButton.hidden = following;
});
followButton.addEventListener("click", () => {
  following = true;
  toEnd();
});
search.addEventListener("input", filter);
toEnd();
filter();

async function catchUp() {
  const response = await fetch(`/api/runs/${runId}/log?after=${lastKey}`);
  if (response.ok) add(await response.json());
}

function add(lines) {
  const fresh = lines.filter((line) => line.key > lastKey);
  if (!fresh.length) return;
  panel.querySelector("[data-log-empty]")?.remove();
  box.append(...fresh.map(element));
  lastKey = fresh.at(-1).key;
  while (box.childElementCount > KEPT_LINES) box.firstElementChild.remove();
  filter();
  if (following) toEnd();
}

function element({ key, attempt, time, line }) {
  const row = document.createElement("div");
  row.className = "log-line";
  Object.assign(row.dataset, { key, attempt });
  const when = document.createElement("time");
  when.textContent = clockSeconds(new Date(1000 * time));
  const text = document.createElement("span");
  text.textContent = line;
  row.append(when, text);
  return row;
}

function filter() {
  const wanted = search.value.trim().toLowerCase();
  let shown = 0;
  for (const row of box.querySelectorAll(".log-line")) {
    row.hidden = wanted !== "" && !row.lastElementChild.textContent.toLowerCase().includes(wanted);
    shown += row.hidden ? 0 : 1;
  }
  const total = box.querySelectorAll(".log-line").length;
  panel.querySelector("[data-log-count]").textContent = wanted ? `${shown} of ${total} lines` : `${total} lines`;
}

function toEnd() {
  box.scrollTop = box.scrollHeight;
}
