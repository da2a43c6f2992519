// Adding a dataset: stages the files and shows the progress of the upload; the import is a task (tasks.js).
import { bytes, count } from "../lib/format.js";
import { MOST_FILES, TOO_MANY, packZip } from "../lib/zip.js";
import { bindDrop } from "../shared/drop.js";
import { request } from "../shared/request.js";
import { groupFields } from "./manifest.js";
import { Stage, described, droppedFiles } from "./stage.js";
import { followTasks, showNewTask, showRefusal } from "./tasks.js";
import { parseBody, sendForm, sendInChunks } from "../shared/upload.js";
import { root } from "../shared/root.js";

const LARGE = 16 << 20; // bytes; a larger zip is sent in chunks
const upload = document.querySelector("[data-upload]");
const source = document.querySelector("[data-source-form]");
const zip = upload.querySelector("[data-zip]");
const folder = upload.querySelector("[data-folder]");
const stage = new Stage(upload);
let files = null; // of a folder; null if a zip is chosen

followTasks();
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
  chosenFolder(Array.from(folder.files, (file) => ({ path: file.webkitRelativePath, file })));
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
  note(upload, "");
  named(file.name, `${file.name} · ${bytes(file.size)}`);
  stage.showZip(file);
}

function chosenFolder(chosen) {
  if (!chosen.length) return;
  const isTooMany = chosen.length > MOST_FILES;
  files = isTooMany ? null : chosen;
  zip.value = "";
  zip.required = isTooMany;
  note(upload, isTooMany ? `This folder cannot be sent: ${TOO_MANY}.` : "");
  if (isTooMany) return stage.clear();
  named(chosen[0].path.split("/")[0], described(chosen));
  stage.showFiles(chosen);
}

function named(name, shown) {
  upload.querySelector("[data-drop-name]").textContent = shown;
  const field = upload.elements.name;
  if (field.value) return;
  field.value = name.replace(/\.zip$/i, "").replaceAll(/[^A-Za-z0-9._-]+/g, "-").replaceAll(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "").slice(0, 64);
  sayIfTaken();
}

upload.elements.name.addEventListener("input", sayIfTaken);

/** A name that a dataset has already is not refused: the new one gets a number. */
function sayIfTaken() {
  const taken = Array.from(document.querySelectorAll("[data-cards] h2"), ({ textContent }) => textContent.trim());
  const name = upload.elements.name.value;
  let number = 1;
  while (taken.includes(number === 1 ? name : `${name}@${number}`)) number += 1;
  const note = upload.querySelector("[data-name-taken]");
  note.hidden = number === 1;
  note.textContent = note.hidden ? "" : `There is a dataset of this name: the new one will be ${name}@${number}.`;
}

async function sendZip() {
  const data = new FormData(upload);
  if (!data.get("size")) data.delete("size");
  data.delete("groups");
  for (const [name, value] of Object.entries(groupFields(upload.elements.groups.value))) data.set(name, value);
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
  const progress = (loaded, total) => {
    bar.value = loaded / total;
    note(upload, `${bytes(loaded)} of ${bytes(total)} sent`);
  };
  const { status, body, forget } = await sent(data, progress);
  bar.hidden = true;
  button.disabled = false;
  if (status === 202) forget?.();
  answer(upload, status, body);
}

/** Sends the form, a large zip in chunks beforehand. */
async function sent(data, progress) {
  const file = data.get("file");
  let forget;
  if (file.size > LARGE) {
    const arrived = await sendInChunks(file, progress, (seconds) => {
      note(upload, `Connection lost: the upload continues in ${seconds} s. It also continues if you choose the same file again later.`);
    });
    if (!arrived.id) return arrived;
    data.delete("file");
    data.set("upload", arrived.id);
    ({ forget } = arrived);
  }
  const { status, text } = await sendForm(`${root}/api/datasets`, data, file.size > LARGE ? () => {} : progress);
  return { status, body: parseBody({ status, text }), forget };
}

async function sendSource() {
  const button = source.querySelector("[data-add]");
  const json = { name: source.elements.name.value, source: source.elements.path.value.trim() || source.elements.source.value };
  const { status, body } = await request(`${root}/api/datasets`, { method: "POST", json, button, quiet: true });
  answer(source, status, body);
}

function answer(form, status, body) {
  if (status === 202 || status === 201 || status === 200) {
    note(form, "");
    form.reset();
    upload.querySelector("[data-drop-name]").textContent = "Drop a folder or a zip here, or choose a zip";
    files = null;
    zip.required = true;
    stage.clear();
    showNewTask(body.task ?? body);
    return;
  }
  showRefusal(form.elements.name.value || "This dataset", body.error);
  note(form, "");
}

function note(form, text) {
  form.querySelector("[data-upload-note]").textContent = text;
}
