// The buttons that cancel a task, and that delete one that has ended.
import { request } from "./request.js";
import { root } from "./root.js";

/** @param {function(object): void} onCancelled called with the task as it is then */
export function cancelButton(id, title, onCancelled) {
  return taskButton("Cancel", title, async (button) => {
    const { ok, body } = await request(`${root}/api/tasks/${id}/cancel`, { method: "POST", button });
    if (ok) onCancelled(body);
  });
}

/** A button that deletes a task with its files. */
export function dismissButton(id, title, onDeleted, text = "Dismiss") {
  return taskButton(text, title, async (button) => {
    const { ok } = await request(`${root}/api/tasks/${id}`, { method: "DELETE", button });
    if (ok) onDeleted();
  });
}

function taskButton(text, title, act) {
  const button = document.createElement("button");
  return Object.assign(button, { className: "button", type: "button", textContent: text, title, ariaLabel: title, onclick: () => act(button) });
}
