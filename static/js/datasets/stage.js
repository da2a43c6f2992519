// Preview of a dataset before upload: its classes, nine images at the chosen size and fit, and the files whose format
// is not supported.
import { fitted } from "../lib/fit.js";
import { bytes, count } from "../lib/format.js";
import { MOST_FILES, listZip, readEntry } from "../lib/zip.js";
import { request } from "../shared/request.js";
import { asBase64, groupFields, groupOptions, isManifest } from "./manifest.js";
import { root } from "../shared/root.js";

const SHOWN = 9;
const SMALLEST_KEPT = 16;
const LARGEST_KEPT = 224; // larger images have to be asked for, as in trainer/data/sources/importer.py
const DEFAULT_SIZE = 64;
const LISTED = 20000;
const MANIFEST_BYTES = 400_000; // in all; a larger one is looked at once it is sent
const LEFT_BY_SYSTEMS = /(^|\/)(\.|__MACOSX\/|@eaDir\/|#recycle\/|\$RECYCLE\.BIN\/)/i;
// Endings of images that no server reads, or that only some do; `data-image-types` tells what this one reads.
const FOREIGN = ["heic", "heif", "jxl", "jp2", "raw", "cr2", "nef", "dng"];
const UNSHOWN = ["image/heic", "image/tiff"]; // most browsers do not decode these

export class Stage {
  /** @param {HTMLFormElement} form with a `[data-stage]` and fields `size` and `fit` */
  constructor(form) {
    this.form = form;
    this.node = form.querySelector("[data-stage]");
    this.types = {}; // media types by ending
    this.version = 0;
    form.addEventListener("change", (event) => {
      if (["size", "fit"].includes(event.target.name)) this.draw();
      if (["manifest", "groups"].includes(event.target.name) && this.entries) this.plan();
    });
  }

  clear() {
    this.version += 1;
    this.pictures = [];
    this.entries = null;
    this.node.hidden = true;
  }

  /** Shows a zip's contents; nothing for a zip that cannot be listed here, which the server checks. */
  async showZip(file) {
    this.clear();
    const entries = await listZip(file).catch(() => null);
    if (entries) await this.show(entries.map((entry) => ({ ...entry, content: () => readEntry(file, entry) })));
  }

  /** Shows a folder's files, [{path, file}]. */
  async showFiles(files) {
    this.clear();
    await this.show(files.map(({ path, file }) => ({ path, content: async () => file })));
  }

  async show(entries) {
    this.version += 1;
    const version = this.version;
    this.types = JSON.parse(this.node.dataset.imageTypes);
    this.node.hidden = false;
    this.say("layout", "");
    this.warn(entries);
    this.entries = entries;
    const images = entries.filter(({ path }) => extension(path) in this.types && !LEFT_BY_SYSTEMS.test(path));
    const step = Math.max(1, images.length / SHOWN);
    const picked = Array.from({ length: Math.min(SHOWN, images.length) }, (_, index) => images[Math.floor(index * step)]);
    this.offerGroups([]);
    const [, pictures] = await Promise.all([this.plan(), Promise.all(picked.map((entry) => load(entry, this.types[extension(entry.path)])))]);
    if (version !== this.version) return;
    this.pictures = pictures;
    this.draw();
  }

  /** Asks for the classes and splits that the files would make, by the manifest and the groups that are chosen. */
  async plan() {
    const { version, entries } = this;
    this.say("layout", "Looking at the names of the files…");
    const planned = await plan(entries, this.form);
    if (version !== this.version) return;
    this.explain(planned, entries.length);
    if (planned && !planned.error) this.offerGroups(planned.columns);
  }

  /** The levels of folders and the columns of the manifest that may be groups. */
  offerGroups(columns) {
    const field = this.form.elements.groups;
    const image = this.entries.find(({ path }) => extension(path) in this.types && !LEFT_BY_SYSTEMS.test(path));
    const chosen = field.value;
    field.replaceChildren(...groupOptions(image?.path ?? "", columns).map(([value, text]) => new Option(text, value)));
    field.value = chosen;
    if (field.selectedIndex < 0) field.value = "";
    field.closest("label").hidden = field.options.length < 2;
  }

  explain(planned, files) {
    const list = this.part("classes");
    list.replaceChildren();
    this.say("legend", "");
    if (planned === null) return this.say("layout", `${count(files)} files; their layout is looked at once they are sent.`);
    if (planned.error) {
      const { detail } = planned.error;
      const { message } = planned.error;
      const named = (Array.isArray(detail) ? detail : []).filter((line) => !message.includes(line));
      return this.say("layout", [message, ...named.slice(0, 3)].join(" · "), true);
    }
    const { classes, train, val, test, manifest, groups } = planned;
    if (manifest) this.form.querySelector("[data-labelling]").open = true;
    this.say("layout", [
      manifest ? `Classes from ${manifest}.` : "",
      `${count(classes.length)} classes: ${count(train)} images to train on, ${val ? `${count(val)} to validate on, ` : ""}${count(test)} to test with.`,
      `Validation: ${planned.validation}.`,
      planned.test_drawn ? `Test: ${groups === null ? "a fifth of the training images of each class" : "whole groups, about a fifth of the images"}, drawn at the import, as there is no test split.` : "",
      groups === null ? "" : `${count(groups)} groups, each in one split.`,
      planned.shared_groups ? `But ${count(planned.shared_groups)} of them have training images, and test or validation images too, as the splits are given.` : "",
      otherFiles(planned.other_files),
    ].filter(Boolean).join(" "));
    const sorted = classes.toSorted((a, b) => a.name.localeCompare(b.name, "en", { sensitivity: "base" }));
    this.say("legend", `Images per class: training${val ? " + validation" : ""} + test`);
    list.replaceChildren(...sorted.slice(0, 200).map(({ name, train: some, val: own, test: others }) => {
      const item = Object.assign(document.createElement("li"), { textContent: `${name} ` });
      item.append(Object.assign(document.createElement("span"), { className: "muted", textContent: [some, ...(val ? [own] : []), others].map(count).join(" + ") }));
      return item;
    }));
  }

  warn(entries) {
    const foreign = entries.filter(({ path }) => FOREIGN.includes(extension(path)) && !(extension(path) in this.types));
    const kinds = [...new Set(foreign.map(({ path }) => extension(path).toUpperCase()))].join(", ");
    const heic = foreign.some(({ path }) => ["heic", "heif"].includes(extension(path)));
    const how = heic
      ? " An iPhone takes JPEG under Settings, Camera, Formats, Most Compatible; those you have become JPEG with “sips -s format jpeg *.heic --out jpeg” on a Mac, or “heif-convert” on Linux. The server reads HEIC once “trackside[heic]” is installed."
      : " Export them as JPEG or PNG first.";
    const warnings = [];
    if (foreign.length) warnings.push(`${count(foreign.length)} of the files: ${kinds}, which is not read here.${how}`);
    if (entries.some(({ guessed }) => guessed)) {
      warnings.push("Names in this zip are not in UTF-8 and are read as code page 437. If they look wrong below, choose the folder itself, or zip it with names in UTF-8.");
    }
    this.say("foreign", warnings.join(" "));
  }

  /** Draws nine images resized as the import resizes them (trainer/data/fit.py). */
  draw() {
    const natural = naturalSize(this.pictures ?? []);
    const field = this.form.elements.size;
    const chosen = field.validity.valid ? Number(field.value) : 0;
    const size = chosen || (natural ?? DEFAULT_SIZE);
    const fit = this.form.elements.fit.value;
    this.part("images").replaceChildren(...(this.pictures ?? []).map(({ path, type, bitmap }) => {
      const figure = document.createElement("figure");
      if (bitmap === null) {
        figure.append(Object.assign(document.createElement("div"), { className: "unreadable", textContent: UNSHOWN.includes(type) ? "no preview" : "cannot be read" }));
      } else {
        figure.append(canvasOf(bitmap, size, fit));
      }
      figure.append(Object.assign(document.createElement("figcaption"), { textContent: path.split("/").at(-1), title: path }));
      return figure;
    }));
    const why = chosen ? "" : natural ? ", the size of the images" : `, as the images are not squares of one size from ${SMALLEST_KEPT} to ${LARGEST_KEPT} pixels`;
    this.say("size", `Imported at ${size}×${size}${why}.`);
  }

  part(name) {
    return this.node.querySelector(`[data-stage-${name}]`);
  }

  say(name, text, isBad = false) {
    const node = this.part(name);
    node.textContent = text;
    node.hidden = text === "";
    node.classList.toggle("field-error", isBad);
  }
}

/** The dropped files, [{path, file}]; folders are read recursively, until there are more files than a zip can have. */
export async function droppedFiles(transfer) {
  const roots = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  const walk = async (entry, prefix) => {
    if (found.length > MOST_FILES) return;
    if (entry.isFile) {
      found.push({ path: prefix + entry.name, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!batch.length) return;
      for (const child of batch) await walk(child, `${prefix}${entry.name}/`);
    }
  };
  for (const root of roots) await walk(root, "");
  return found;
}

export const described = (files) => `${count(files.length)} files · ${bytes(files.reduce((sum, { file }) => sum + file.size, 0))}`;

/** A sentence about the files that are no images by their names, counted by ending; "" if there are none. */
export function otherFiles(counts) {
  const listed = Object.entries(counts ?? {}).map(([ending, files]) => `${count(files)} ${ending || "without an ending"}`);
  return listed.length ? `Other files are not imported: ${listed.join(", ")}.` : "";
}

/** The side that all have in common, if they are squares that keep their size; otherwise null. */
function naturalSize(pictures) {
  const bitmaps = pictures.map(({ bitmap }) => bitmap).filter(Boolean);
  const [side] = bitmaps.map(({ width }) => width);
  const agree = bitmaps.every(({ width, height }) => width === side && height === side);
  return agree && side >= SMALLEST_KEPT && side <= LARGEST_KEPT ? side : null;
}

/** The planned layout, or {error}; null if the files or their manifests are too many to be sent for that. */
async function plan(entries, form) {
  if (!entries.length || entries.length > LISTED) return null;
  const [given] = form.elements.manifest.files;
  const beside = given ? [] : entries.filter(({ path }) => isManifest(path));
  const contents = await Promise.all(beside.map(async ({ path, content }) => [path, await content()]));
  const sizes = [...contents.map(([, blob]) => blob.size), given?.size ?? 0];
  if (sizes.reduce((sum, size) => sum + size, 0) > MANIFEST_BYTES) return null;
  const json = {
    files: entries.map(({ path }) => path),
    contents: Object.fromEntries(await Promise.all(contents.map(async ([path, blob]) => [path, await asBase64(blob)]))),
    manifest: given ? { name: given.name, content: await asBase64(given) } : null,
    ...groupFields(form.elements.groups.value),
  };
  const { ok, status, body } = await request(`${root}/api/datasets/layout`, { method: "POST", json, quiet: true });
  return ok || status === 422 ? body : null;
}

async function load({ path, content }, type) {
  try {
    const blob = await content();
    return { path, type, bitmap: await createImageBitmap(new Blob([blob], { type })) };
  } catch {
    return { path, type, bitmap: null };
  }
}

function canvasOf(bitmap, size, fit) {
  const canvas = Object.assign(document.createElement("canvas"), { width: size, height: size, className: "px" });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "rgb(128 128 128)";
  context.fillRect(0, 0, size, size);
  const box = fitted(bitmap.width, bitmap.height, size, fit);
  context.drawImage(bitmap, box.x, box.y, box.width, box.height);
  return canvas;
}

function extension(path) {
  return path.split(".").at(-1).toLowerCase();
}
