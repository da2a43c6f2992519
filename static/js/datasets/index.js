// Adding a dataset: shows the progress of the upload, then of the import task.
import { bytes, count, percent } from "../lib/format.js";
import { packZip } from "../lib/zip.js";
import { bindDrop } from "../shared/drop.js";
import { follow } from "../shared/live.js";
import { Stage, described, droppedFiles, otherFiles } from "./stage.js";
import { parseBody, sendForm } from "../shared/upload.js";

const box = document.querySelector("[data-tasks]");
const upload = document.querySelector("[data-upload]");
const source = document.querySelector("[data-source-form]");
const zip = upload.querySelector("[data-zip]");
const folder = upload.querySelector("[data-folder]");
const stage = new Stage(upload);
let files = null; // of a folder; null if a zip is chosen
const shownTasks = new Set([...box.querySelectorAll("[data-task]")].map((node) => node.dataset.task));

follow({ kinds: ["task"], on: { task: show, resync: refetch, connected: refetch } });
folder.closest("label").hidden = false;
bindDrop(upload.querySelector("[data-drop]"), async (dropped, transfer) => {
  if (dropped.length === 1 && /\.zip$/i.test(dropped[0].name)) {
    zip.files = dropped;
    return chosenZip();
  }
  chosenFolder(await droppedFiles(transfer));
});
zip.addEventListener("change", chosenZip);
folder.addEventListener("change", () => {
  chosenFolder([...folder.files].map((file) => ({ path: file.webkitRelativePath, file })));
});
upload.addEventListener("submit", (event) => {
  event.preventDefault();
  sendZip();
});
source.addEventListener("submit", (event) => {
  event.preventDefault();
  sendSource();
});
source.addEventListener("change", (event) => {
  if (event.target.name === "source") source.elements.name.value = event.target.value.replace("torchvision:", "").toLowerCase();
});

function chosenZip() {
  const file = zip.files[0];
  if (!file) return;
  files = null;
  zip.required = true;
  named(file.name, `${file.name} · ${bytes(file.size)}`);
  stage.showZip(file);
}

function chosenFolder(chosen) {
  if (!chosen.length) return;
  files = chosen;
  zip.value = "";
  zip.required = false;
  named(chosen[0].path.split("/")[0], described(chosen));
  if (!upload.elements.size.value) upload.elements.size.value = "64"; // photos are seldom square and of equal size
  stage.showFiles(chosen);
}

function named(name, shown) {
  upload.querySelector("[data-drop-name]").textContent = shown;
  const field = upload.elements.name;
  if (!field.value) field.value = name.replace(/\.zip$/i, "").replaceAll(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 64);
}

async function sendZip() {
  const data = new FormData(upload);
  if (!data.get("size")) data.delete("size");
  const bar = upload.querySelector("[data-upload-progress]");
  const button = upload.querySelector("[data-add]");
  if (files) {
    button.disabled = true;
    try {
      const packed = await packZip(files, (done) => note(upload, `${count(done)} of ${count(files.length)} files read`));
      data.set("file", packed, `${data.get("name")}.zip`);
    } catch (error) {
      button.disabled = false;
      return note(upload, `This folder cannot be sent: ${error.message}.`);
    }
  }
  bar.hidden = false;
  button.disabled = true;
  const { status, text } = await sendForm("/api/datasets", data, (loaded, total) => {
    bar.value = loaded / total;
    note(upload, `${bytes(loaded)} of ${bytes(total)} sent`);
  });
  bar.hidden = true;
  button.disabled = false;
  answer(upload, status, text);
}

async function sendSource() {
  const button = source.querySelector("[data-add]");
  button.disabled = true;
  try {
    const response = await fetch("/api/datasets", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name: source.elements.name.value, source: source.elements.path.value.trim() || source.elements.source.value }),
    });
    answer(source, response.status, await response.text());
  } catch {
    answer(source, 0, "");
  }
  button.disabled = false;
}

function answer(form, status, text) {
  const body = parseBody({ status, text });
  if (status === 202 || status === 201 || status === 200) {
    note(form, "");
    form.reset();
    upload.querySelector("[data-drop-name]").textContent = "Drop a folder or a zip here, or choose a zip";
    files = null;
    zip.required = true;
    stage.clear();
    const task = body.task ?? body;
    shownTasks.add(task.id);
    show(task);
    return;
  }
  box.prepend(failure(form.elements.name.value || "This data set", body.error));
  note(form, "");
}

async function refetch() {
  const response = await fetch("/api/tasks?kind=dataset");
  if (!response.ok) return;
  for (const task of (await response.json()).reverse()) if (shownTasks.has(task.id) || !["finished", "failed"].includes(task.status)) show(task);
}

function show(task) {
  if (task.kind !== "dataset") return;
  const name = task.request?.name ?? task.kind;
  const node = task.status === "failed" ? failure(name, task.error, task.id) : working(name, task);
  node.dataset.task = task.id;
  node.dataset.taskStatus = task.status;
  const known = box.querySelector(`[data-task="${CSS.escape(task.id)}"]`);
  if (known) known.replaceWith(node);
  else box.prepend(node);
  if (task.status === "finished" && shownTasks.has(task.id)) showCards();
  shownTasks.add(task.id);
}

/** Replaces the list of datasets with the server's current one. */
async function showCards() {
  const response = await fetch("/datasets");
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  document.querySelector("[data-cards]").replaceChildren(...page.querySelector("[data-cards]").childNodes);
}

function working(name, task) {
  const node = element("div", "notice task");
  const line = element("div", "task-line");
  line.append(element("strong", "", name));
  if (task.status === "finished") {
    const made = task.result?.dataset ?? name;
    const link = element("a", "link", `${made} is ready`);
    link.href = `/datasets/${encodeURIComponent(made)}`;
    line.append(link);
    const others = otherFiles(task.result?.other_files);
    if (others) line.append(element("span", "muted", others));
  } else {
    const bar = element("progress", "prog");
    Object.assign(bar, { max: 1, value: task.progress });
    const parts = [task.status === "queued" ? "waiting for a worker" : task.what || task.status];
    if (task.total > 1) parts.push(`${count(task.done)} of ${count(task.total)}`, `${percent(task.progress, 0)}%`);
    line.append(bar, element("span", "muted", parts.join(" · ")));
  }
  node.append(line);
  return node;
}

function failure(name, error, task = null) {
  const node = element("div", "notice bad task");
  const line = element("div", "task-line");
  line.append(element("strong", "", `${name} was not added.`), element("span", "", error?.message ?? ""));
  node.append(line);
  const files = problems(error?.detail);
  if (files.length) {
    const list = element("ul", "bad-files");
    list.tabIndex = 0;
    list.append(...files.map((text) => element("li", "", text)));
    node.append(list);
  }
  const { unreadable = files.length, total } = error?.detail ?? {};
  if (unreadable > files.length) node.append(element("p", "muted", `and ${count(unreadable - files.length)} more`));
  if (task && error.code === "unreadable_images" && total > unreadable) {
    const button = element("button", "button", `Import ${count(total - unreadable)}, leave out ${count(unreadable)}`);
    Object.assign(button, { type: "button", onclick: () => retry(task, node, name) });
    const row = element("div", "row-of");
    row.append(button);
    node.append(row);
  }
  return node;
}

/** Repeats a failed import with the same upload, skipping unreadable files. */
async function retry(task, node, name) {
  const response = await fetch(`/api/tasks/${task}/retry`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ on_unreadable: "skip" }),
  });
  const body = await response.json().catch(() => null);
  if (response.ok) {
    shownTasks.add(body.id);
    node.remove();
    show(body);
  } else node.replaceWith(failure(name, body?.error));
}

/** One text per problem, for each form that an error's `detail` can have. */
function problems(detail) {
  const list = Array.isArray(detail) ? detail : Array.isArray(detail?.files) ? detail.files : Array.isArray(detail?.problems) ? detail.problems : [];
  return list.map((item) => {
    if (typeof item === "string") return item;
    if (Array.isArray(item)) return item.join(": ");
    return [item.path ?? item.file ?? item.field, item.reason ?? item.message ?? item.code].filter(Boolean).join(": ");
  });
}

function note(form, text) {
  form.querySelector("[data-upload-note]").textContent = text;
}

function element(tag, className, text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}
