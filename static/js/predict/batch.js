// Batch prediction: uploads a zip, follows its task, and links to the task's CSV file.
import { bytes, count, percent } from "../lib/format.js";
import { follow } from "../shared/live.js";
import { request } from "../shared/request.js";
import { cancelButton, dismissButton } from "../shared/task_buttons.js";
import { parseBody, sendForm } from "../shared/upload.js";
import { root } from "../shared/root.js";

const SHOWN = 5;

const section = document.querySelector("[data-batch]");
if (section) bind();

function bind() {
  const form = section.querySelector("[data-batch-form]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
  follow({
    kinds: ["task", "task_deleted"],
    on: { task: (task) => task.kind === "predict" && show(task), task_deleted: ({ task }) => known(task)?.remove(), resync: refetch, connected: refetch },
  });
}

async function send(form) {
  const data = new FormData(form);
  data.set("model", section.dataset.model);
  const bar = form.querySelector("[data-batch-sent]");
  const button = form.querySelector("button");
  bar.hidden = false;
  button.disabled = true;
  const answer = await sendForm(`${root}/api/predict/batch`, data, (loaded, total) => {
    bar.value = loaded / total;
    note(`${bytes(loaded)} of ${bytes(total)} sent`);
  });
  bar.hidden = true;
  button.disabled = false;
  const body = parseBody(answer);
  note(answer.status === 202 ? "" : body.error?.message ?? `The server answered ${answer.status}.`);
  if (answer.status === 202) {
    form.reset();
    show(body);
  }
}

async function refetch() {
  const { ok, body } = await request(`${root}/api/tasks?kind=predict`, { quiet: true });
  if (ok) for (const task of body.slice(0, SHOWN).reverse()) show(task);
}

function show(task) {
  const box = section.querySelector("[data-batch-tasks]");
  const node = element("div", task.status === "failed" ? "notice bad task" : "notice task");
  Object.assign(node.dataset, { task: task.id, taskStatus: task.status });
  const line = element("div", "task-line");
  line.append(element("strong", "", task.request.label), ...state(task));
  node.append(line);
  if (known(task.id)) known(task.id).replaceWith(node);
  else box.prepend(node);
  while (box.children.length > SHOWN) box.lastElementChild.remove();
}

function known(id) {
  return section.querySelector(`[data-task="${CSS.escape(id)}"]`);
}

function dismissal(id, label) {
  return dismissButton(id, `Dismiss ${label} and delete what it kept`, () => known(id)?.remove());
}

function deletion(id, label) {
  return dismissButton(id, `Delete the predictions of ${label}`, () => known(id)?.remove(), "Delete");
}

function state({ id, status, progress, what, done, total, request, result, error }) {
  if (status === "stopped") return [element("span", "muted grow", "cancelled"), dismissal(id, request.label)];
  if (status === "failed") return [element("span", "grow", error?.message ?? "It failed."), dismissal(id, request.label)];
  if (status === "finished") {
    const link = element("a", "link", "Download the CSV");
    Object.assign(link, { href: `${root}/api/tasks/${id}/file`, download: "" });
    const parts = [`${count(result.images)} images`, `model ${request.model}, step ${count(result.step)}`];
    if (result.unreadable) parts.splice(1, 0, `${count(result.unreadable)} could not be read`);
    return [link, element("span", "muted grow", parts.join(" · ")), deletion(id, request.label)];
  }
  const bar = element("progress", "prog");
  Object.assign(bar, { max: 1, value: progress });
  bar.setAttribute("aria-label", "classified");
  if (status === "stopping") return [bar, element("span", "muted grow", "being cancelled…")];
  const parts = [status === "queued" ? "waiting for a worker" : what || status];
  if (total) parts.push(`${count(done)} of ${count(total)}`, `${percent(progress, 0)}%`);
  return [bar, element("span", "muted grow", parts.join(" · ")), cancelButton(id, `Cancel ${request.label}`, show)];
}

function note(text) {
  section.querySelector("[data-batch-note]").textContent = text;
}

function element(tag, className, text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}
