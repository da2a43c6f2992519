// Saves and deletes views of the list.
import { toast } from "../shared/page.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";
import { show } from "./navigate.js";

const page = document.querySelector("[data-runs]");

page.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.matches("[data-view-save]")) {
    event.preventDefault();
    const { name } = form.elements;
    form.closest("dialog").close();
    if (await save(name.value, location.search)) toast(`The view ${name.value} is saved.`);
  } else if (form.matches("[data-view-delete]")) {
    event.preventDefault();
    const name = form.dataset.viewDelete;
    const query = new URL(form.closest(".view").querySelector("a").href).search;
    const { ok } = await request(addressOf(name), { method: "DELETE", button: event.submitter });
    if (!ok) return;
    toast(`The view ${name} is deleted.`, { label: "Undo", act: () => save(name, query) });
    reload();
  }
});

async function save(name, query) {
  const { ok } = await request(addressOf(name), { method: "PUT", json: { query } });
  if (ok) reload();
  return ok;
}

function addressOf(name) {
  return `${root}/api/views/${encodeURIComponent(name)}`;
}

function reload() {
  return show(location.href, { past: "none", only: ["views"] });
}
