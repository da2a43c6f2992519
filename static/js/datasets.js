// Adding a data set: the upload's progress, then the task's, live.
import { bytes, count, percent } from "./lib/format.js";
import { bindDrop } from "./drop.js";
import { follow } from "./live.js";

const box = document.querySelector("[data-tasks]");
const upload = document.querySelector("[data-upload]");
const source = document.querySelector("[data-source-form]");
const zip = upload.querySelector("[data-zip]");
const mine = new Set([...box.querySelectorAll("[data-task]")].map((node) => node.dataset.task));

follow({ kinds: ["task"], on: { task: show, resync: refetch, connected: refetch } });
bindDrop(upload.querySelector("[data-drop]"), (files) => {
  zip.files = files;
  named();
});
zip.addEventListener("change", named);
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

function named() {
  const file = zip.files[0];
  if (!file) return;
  upload.querySelector("[data-drop-name]").textContent = `${file.name} · ${bytes(file.size)}`;
  const name = upload.elements.name;
  if (!name.value) name.value = file.name.replace(/\.zip$/i, "").replaceAll(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 64);
}

/** XMLHttpRequest, since fetch does not tell how much has been sent. */
function sendZip() {
  const data = new FormData(upload);
  if (!data.get("size")) data.delete("size");
  const bar = upload.querySelector("[data-upload-progress]");
  const button = upload.querySelector("[data-add]");
  const request = new XMLHttpRequest();
  request.open("POST", "/api/datasets");
  request.setRequestHeader("Accept", "application/json");
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) bar.value = event.loaded / event.total;
    note(upload, `${bytes(event.loaded)} of ${bytes(event.total)} sent`);
  });
  request.addEventListener("loadend", () => {
    bar.hidden = true;
    button.disabled = false;
    answer(upload, request.status, request.responseText);
  });
  bar.hidden = false;
  button.disabled = true;
  request.send(data);
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
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    body = { error: { message: status === 0 ? "The server could not be reached." : `The server answered ${status}.` } };
  }
  if (status === 202 || status === 201 || status === 200) {
    note(form, "");
    form.reset();
    upload.querySelector("[data-drop-name]").textContent = "Drop a zip here, or choose one";
    const task = body.task ?? body;
    mine.add(task.id);
    show(task);
    return;
  }
  box.prepend(failure(form.elements.name.value || "This data set", body.error));
  note(form, "");
}

async function refetch() {
  const response = await fetch("/api/tasks");
  if (!response.ok) return;
  for (const task of (await response.json()).reverse()) if (mine.has(task.id) || !["finished", "failed"].includes(task.status)) show(task);
}

function show(task) {
  const name = task.request?.name ?? task.kind;
  const node = task.status === "failed" ? failure(name, task.error) : working(name, task);
  node.dataset.task = task.id;
  node.dataset.taskStatus = task.status;
  const known = box.querySelector(`[data-task="${CSS.escape(task.id)}"]`);
  if (known) known.replaceWith(node);
  else box.prepend(node);
  if (task.status === "finished" && mine.has(task.id)) showCards();
  mine.add(task.id);
}

/** The new data set appears in the list, as the server renders it. */
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

function failure(name, error) {
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
  return node;
}

/** Whatever shape the detail has, one line a problem. */
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
