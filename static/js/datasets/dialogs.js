// Renaming and deleting a dataset, each in a dialog of its page.
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const menu = document.querySelector("[data-dataset-menu]");

menu.hidden = false;
for (const button of menu.querySelectorAll("[data-opens]")) {
  button.addEventListener("click", () => {
    menu.open = false;
    document.querySelector(`[data-dialog="${button.dataset.opens}"]`).showModal();
  });
}
for (const form of document.querySelectorAll("[data-changes]")) {
  form.addEventListener("submit", (event) => {
    if (event.submitter?.value === "close") return; // closes the dialog
    event.preventDefault();
    change(form);
  });
}

async function change(form) {
  const { changes: method, dataset } = form.dataset;
  const json = method === "PATCH" ? { name: form.elements.name.value.trim() } : undefined;
  const button = form.querySelector('[value="change"]');
  showError(form, "");
  const { ok, body } = await request(`${root}/api/datasets/${encodeURIComponent(dataset)}`, { method, json, button, quiet: true });
  if (ok) location.assign(body ? `${root}/datasets/${encodeURIComponent(body.name)}` : `${root}/datasets`);
  else showError(form, body.error.message);
}

function showError(form, message) {
  const node = form.querySelector("[data-dialog-error]");
  node.textContent = message;
  node.hidden = !message;
}
