// The imports on the page of datasets: their progress, their failures, and what can be done about them.
import { count, percent } from "../lib/format.js";
import { follow } from "../shared/live.js";
import { request } from "../shared/request.js";
import { cancelButton, dismissButton } from "../shared/task_buttons.js";
import { root } from "../shared/root.js";
import { otherFiles } from "./stage.js";

const box = document.querySelector("[data-tasks]");
const shownTasks = new Set([...box.querySelectorAll("[data-task]")].map((node) => node.dataset.task));

export function followTasks() {
  const on = { task: show, task_deleted: ({ task }) => removeTask(task), resync: refetch, connected: refetch };
  follow({ kinds: ["task", "task_deleted"], on });
}

/** Shows a task that was created by this page. */
export function showNewTask(task) {
  shownTasks.add(task.id);
  show(task);
}

/** Shows why the server refused to create a task. */
export function showRefusal(name, error) {
  box.prepend(failure(name, error));
}

/** Shows the unfinished and failed tasks, and those that are shown already; removes those that are gone. */
async function refetch() {
  const { ok, body: tasks } = await request(`${root}/api/tasks?kind=dataset`, { quiet: true });
  if (!ok) return;
  for (const task of tasks.toReversed()) if (shownTasks.has(task.id) || task.status !== "finished") show(task);
  const known = new Set(tasks.map(({ id }) => id));
  for (const id of shownTasks) if (!known.has(id)) removeTask(id);
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

function removeTask(id) {
  box.querySelector(`[data-task="${CSS.escape(id)}"]`)?.remove();
  shownTasks.delete(id);
}

/** Replaces the list of datasets with the server's current one. */
async function showCards() {
  const { ok, body } = await request(`${root}/datasets`, { as: "text", quiet: true });
  if (!ok) return;
  const page = new DOMParser().parseFromString(body, "text/html");
  document.querySelector("[data-cards]").replaceChildren(...page.querySelector("[data-cards]").childNodes);
}

function working(name, task) {
  const node = element("div", "notice task");
  const line = element("div", "task-line");
  line.append(element("strong", "", name));
  if (task.status === "finished") {
    const made = task.result?.dataset ?? name;
    const link = element("a", "link", `${made} is ready`);
    link.href = `${root}/datasets/${encodeURIComponent(made)}`;
    line.append(link);
    const others = otherFiles(task.result?.other_files);
    if (others) line.append(element("span", "muted", others));
  } else if (task.status === "stopped") {
    line.append(element("span", "muted grow", "import cancelled"), dismissal(name, task.id));
  } else {
    const bar = element("progress", "prog");
    Object.assign(bar, { max: 1, value: task.progress, ariaLabel: `import of ${name}` });
    line.append(bar, element("span", "muted grow", progressText(task)));
    if (task.status !== "stopping") line.append(cancelButton(task.id, `Cancel the import of ${name}`, show));
  }
  node.append(line);
  return node;
}

function progressText(task) {
  if (task.status === "queued") return "waiting for a worker";
  if (task.status === "stopping") return "being cancelled…";
  const parts = [task.what || task.status];
  if (task.total > 1) parts.push(`${count(task.done)} of ${count(task.total)}`, `${percent(task.progress, 0)}%`);
  return parts.join(" · ");
}

function failure(name, error, task = null) {
  const node = element("div", "notice bad task");
  const line = element("div", "task-line");
  line.append(element("strong", "", `${name} was not added.`), element("span", "grow", error?.message ?? ""));
  if (task) line.append(dismissal(name, task));
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
    Object.assign(button, { type: "button", onclick: () => retry(task, node, name, button) });
    const row = element("div", "row-of");
    row.append(button);
    node.append(row);
  }
  return node;
}

function dismissal(name, id) {
  return dismissButton(id, `Dismiss the import of ${name} and delete its upload`, () => removeTask(id));
}

/** Repeats a failed import with the same upload, skipping unreadable files. */
async function retry(task, node, name, button) {
  const { ok, body } = await request(`${root}/api/tasks/${task}/retry`, { method: "POST", json: { on_unreadable: "skip" }, button, quiet: true });
  if (!ok) return node.replaceWith(failure(name, body.error));
  removeTask(task);
  showNewTask(body);
  request(`${root}/api/tasks/${task}`, { method: "DELETE", quiet: true }); // its upload is the new task's
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

function element(tag, className, text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}
