// Renaming and deleting a dataset, each in a dialog of its page.
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
  const button = form.querySelector('[value="change"]');
  button.disabled = true;
  showError(form, "");
  const request = { method };
  if (method === "PATCH") {
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify({ name: form.elements.name.value.trim() });
  }
  try {
    const response = await fetch(`/api/datasets/${encodeURIComponent(dataset)}`, request);
    const answer = response.status === 204 ? null : await response.json();
    if (response.ok) {
      location.assign(answer ? `/datasets/${encodeURIComponent(answer.name)}` : "/datasets");
      return;
    }
    showError(form, answer.error.message);
  } catch {
    showError(form, "The server could not be reached.");
  }
  button.disabled = false;
}

function showError(form, message) {
  const node = form.querySelector("[data-dialog-error]");
  node.textContent = message;
  node.hidden = !message;
}
