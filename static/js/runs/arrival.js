// What tells of a run while its page is in the background: the tab's icon fills, and a notification says how it ended.
import { percent } from "../lib/format.js";

const SIDE = 32;
const ENDS = ["finished", "stopped", "failed"];

const icon = document.querySelector("link[rel=icon]");
const still = icon.href;
let shown = "";
let wanted = false;

/** Called whenever the run's page hears of its run. */
export function showArrival(run, before) {
  const moving = ["starting", "running", "stopping"].includes(run.status);
  const filled = moving ? Math.floor(20 * run.progress) : -1;
  const key = `${run.status} ${filled}`;
  if (key !== shown) {
    shown = key;
    icon.type = moving ? "image/png" : "image/svg+xml";
    icon.href = moving ? drawn(filled / 20) : still;
  }
  if (wanted && run.status !== before && ENDS.includes(run.status)) {
    const best = run.best_acc === null ? "" : `, best validation ${percent(run.best_acc)}%`;
    new Notification(run.name, { body: `${run.status}${best}`, tag: run.id });
  }
}

/** The button asks the browser for leave, then says that it will tell. */
export function bindNotify(button) {
  if (!("Notification" in window) || Notification.permission === "denied") return button.remove();
  button.addEventListener("click", async () => {
    wanted = (await Notification.requestPermission()) === "granted";
    button.textContent = wanted ? "You will be notified" : "The browser does not allow it";
    button.disabled = true;
  });
}

function drawn(share) {
  const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  const pen = canvas.getContext("2d");
  pen.lineWidth = 6;
  for (const [colour, end] of [["#8a8f8c", 1], ["#2f5bd0", share]]) {
    pen.strokeStyle = colour;
    pen.beginPath();
    pen.arc(SIDE / 2, SIDE / 2, 12, -Math.PI / 2, (2 * end - 0.5) * Math.PI);
    pen.stroke();
  }
  return canvas.toDataURL();
}
