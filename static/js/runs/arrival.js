// Shows a run's progress in the tab's icon, and its end in a notification.
import { percent } from "../lib/format.js";

const SIDE = 32;
const ENDS = ["finished", "stopped", "failed"];

const icon = document.querySelector("link[rel=icon]");
const originalIcon = icon.href;
let shown = "";
let enabled = false;

/** Updates the icon, and notifies of the end of a run. `before` is the previous status. */
export function showProgressInTab(run, before) {
  const moving = ["starting", "running", "stopping"].includes(run.status);
  const filled = moving ? Math.floor(20 * run.progress) : -1;
  const key = `${run.status} ${filled}`;
  if (key !== shown) {
    shown = key;
    icon.type = moving ? "image/png" : "image/svg+xml";
    icon.href = moving ? progressIcon(filled / 20) : originalIcon;
  }
  if (enabled && run.status !== before && ENDS.includes(run.status)) {
    const best = run.best_acc === null ? "" : `, best validation ${percent(run.best_acc)}%`;
    new Notification(run.name, { body: `${run.status}${best}`, tag: run.id });
  }
}

/** Makes the button request permission for notifications. */
export function bindNotify(button) {
  if (!("Notification" in window) || Notification.permission === "denied") return button.remove();
  button.addEventListener("click", async () => {
    enabled = (await Notification.requestPermission()) === "granted";
    button.textContent = enabled ? "You will be notified" : "Notifications are blocked";
    button.disabled = true;
  });
}

function progressIcon(share) {
  const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  const context = canvas.getContext("2d");
  context.lineWidth = 6;
  for (const [color, end] of [["#8a8f8c", 1], ["#2f5bd0", share]]) {
    context.strokeStyle = color;
    context.beginPath();
    context.arc(SIDE / 2, SIDE / 2, 12, -Math.PI / 2, (2 * end - 0.5) * Math.PI);
    context.stroke();
  }
  return canvas.toDataURL();
}
