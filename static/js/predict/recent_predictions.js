// The most recent predictions, stored only in this browser and only if the user opts in.
import { clock, share } from "../lib/format.js";
import { parsed, withNewest } from "../lib/recent.js";
import { root } from "../shared/root.js";

const WANTED = "keep-recent-predictions";
const KEPT = "recent-predictions";
const MOST = 20;
const THUMBNAIL = 64; // maximum side in pixels; 20 thumbnails take about 100 kB

export class RecentPredictions {
  #box;
  #choice;
  #clear;

  constructor(box) {
    this.#box = box;
    this.#choice = box.querySelector("[data-keep-recent]");
    this.#clear = box.querySelector("[data-clear-recent]");
    this.#choice.checked = localStorage.getItem(WANTED) !== null;
    this.#choice.addEventListener("change", () => {
      if (this.#choice.checked) localStorage.setItem(WANTED, "1");
      else localStorage.removeItem(WANTED);
    });
    this.#clear.addEventListener("click", () => {
      localStorage.removeItem(KEPT);
      this.#show();
      this.#choice.focus();
    });
    box.hidden = false;
    this.#show();
  }

  /** Stores one prediction per panel. `canvas` is null if the browser could not draw the image. */
  add(canvas, panels, answers) {
    if (!this.#choice.checked) return;
    const said = answers.map(({ predictions: [top], model }, at) => ({
      label: top.label,
      probability: top.probability,
      title: panels[at].title,
      run: model.run,
    }));
    const entry = { time: Date.now(), image: canvas && thumbnail(canvas), answers: said };
    try {
      localStorage.setItem(KEPT, JSON.stringify(withNewest(this.#read(), entry, MOST)));
    } catch {
      this.#choice.checked = false; // the browser's storage is full
    }
    this.#show();
  }

  #read() {
    return parsed(localStorage.getItem(KEPT));
  }

  #show() {
    const kept = this.#read();
    this.#clear.hidden = !kept.length;
    this.#box.querySelector("[data-recent]").replaceChildren(...kept.map(item));
  }
}

function item({ time, image, answers }) {
  const row = document.createElement("li");
  const picture = Object.assign(document.createElement("img"), { className: "px", width: 48, height: 48, alt: "" });
  if (image) picture.src = image;
  const words = document.createElement("div");
  for (const { label, probability, title, run } of answers) {
    const line = document.createElement("p");
    const link = Object.assign(document.createElement("a"), { href: `${root}/runs/${encodeURIComponent(run)}`, className: "link", textContent: title });
    const by = Object.assign(document.createElement("span"), { className: "sub" });
    by.append(link);
    line.append(Object.assign(document.createElement("b"), { textContent: label }), ` ${share(probability)} `, by);
    words.append(line);
  }
  const when = Object.assign(document.createElement("time"), { className: "sub", dateTime: new Date(time).toISOString() });
  when.textContent = clock(new Date(time));
  words.append(when);
  row.append(picture, words);
  return row;
}

function thumbnail(canvas) {
  if (canvas.width <= THUMBNAIL) return canvas.toDataURL("image/png");
  const small = Object.assign(document.createElement("canvas"), { width: THUMBNAIL, height: THUMBNAIL });
  small.getContext("2d").drawImage(canvas, 0, 0, THUMBNAIL, THUMBNAIL);
  return small.toDataURL("image/png");
}
