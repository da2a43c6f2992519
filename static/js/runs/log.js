// The live log. It scrolls with new lines until the user scrolls up, and again from the bottom.
import { clockSeconds } from "../lib/format.js";
import { Lines } from "../lib/lines.js";
import { request } from "../shared/request.js";
import { runId, watchRun } from "./show.js";
import { root } from "../shared/root.js";

const KEPT_LINES = 5000;
const FETCHED_LINES = 1000; // the most that one answer has
const SLACK = 24;
const BAD = /^(problem:|fail:|Traceback)/;

const panel = document.querySelector("[data-log]");
const box = panel.querySelector("[data-log-lines]");
const followButton = panel.querySelector("[data-log-follow]");
const wrapButton = panel.querySelector("[data-log-wrap]");
const search = panel.querySelector("[data-log-search]");
const shown = new Lines([...box.querySelectorAll(".log-line")].map((row) => Number(row.dataset.key)));
let catching = false;
let following = true;

watchRun({ log: ({ lines }) => place(shown.add(lines)), resync: catchUp, connected: catchUp });

box.addEventListener("scroll", () => {
  following = box.scrollHeight - box.scrollTop - box.clientHeight < SLACK;
  followButton.hidden = following;
});
followButton.addEventListener("click", () => {
  following = true;
  toEnd();
});
search.addEventListener("input", filter);
wrapButton.addEventListener("click", () => {
  wrapButton.ariaPressed = String(wrapButton.ariaPressed !== "true");
});
toEnd();
filter();

/** Fetches the lines that were written while no stream was open; live lines may arrive before the answer. */
async function catchUp() {
  if (catching) return;
  catching = true;
  for (let more = true; more; ) {
    const { ok, body } = await request(`${root}/api/runs/${runId}/log?after=${shown.reached}`, { quiet: true });
    more = ok && body.length >= FETCHED_LINES;
    if (ok) place(shown.fetched(body));
  }
  catching = false;
}

function place(placed) {
  if (!placed.length) return;
  panel.querySelector("[data-log-empty]")?.remove();
  for (const { line, at } of placed) box.insertBefore(element(line), box.children[at] ?? null);
  for (let left = shown.trim(KEPT_LINES); left > 0; left -= 1) box.firstElementChild.remove();
  filter();
  if (following) toEnd();
}

function element({ key, attempt, time, line }) {
  const row = document.createElement("div");
  row.className = "log-line";
  Object.assign(row.dataset, { key, attempt });
  row.toggleAttribute("data-bad", BAD.test(line));
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
