// Renaming and deleting a dataset, each in a dialog of its page.
import { showError } from "../shared/dialogs.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

document.querySelector("[data-dataset-menu]").hidden = false;
for (const form of document.querySelectorAll("[data-changes]")) {
  form.addEventListener("submit", (event) => {
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
