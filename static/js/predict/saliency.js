// The occlusion map: a heat map of how covering each part of the image changes a class's probability.
import { share } from "../lib/format.js";
import { peak, strength } from "../lib/saliency.js";
import { drawFitted } from "./fitted_image.js";
import { palette } from "../chart/palette.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const LEAST = 0.01; // the color scale covers at least one percentage point

export class SaliencyFigure {
  #node;
  #waits;
  #options;
  #request = null;
  #shown = null;

  constructor(node, options) {
    this.#node = node;
    this.#waits = node.parentElement.querySelector("[data-saliency-waits]");
    this.#options = options;
    addEventListener("themechange", () => this.#shown && this.#paint());
  }

  clear() {
    this.#request = this.#shown = null;
    this.#node.hidden = this.#waits.hidden = true;
  }

  /** Loads the map of the same image for another class. */
  showClass(index) {
    if (this.#request) this.load(this.#request.file, this.#request.image, this.#request.run, index);
  }

  async load(file, image, run, index) {
    const wanted = (this.#request = { file, image, run });
    this.#waits.hidden = this.#shown !== null; // a map that is shown stays until the next one is there
    const data = new FormData();
    data.append("file", file);
    const query = new URLSearchParams({ model: run, class: index });
    const { ok, body } = await request(`${root}/api/predict/saliency?${query}`, { method: "POST", data, quiet: true });
    if (wanted !== this.#request) return;
    this.#waits.hidden = true;
    if (ok) this.#show(body);
    else this.#options.onFailed(body.error.message);
  }

  #show(found) {
    const { prediction, strongest } = (this.#shown = found);
    this.#node.hidden = false;
    this.#options.onShown(prediction.index);
    const side = `${strongest.side}×${strongest.side}`;
    this.#part("title").textContent = `Occlusion map for ${prediction.label}`;
    const fell = prediction.probability - strongest.probability;
    this.#part("says").textContent =
      fell >= LEAST
        ? `With the outlined ${side} square covered, it falls from ${share(prediction.probability)} to ${share(strongest.probability)}; no other square costs it more.`
        : `No single ${side} square matters: whichever is covered, it does not fall by a whole point from ${share(prediction.probability)}.`;
    this.#paint();
  }

  #paint() {
    const { fall, strongest, prediction } = this.#shown;
    const canvas = this.#node.querySelector("canvas");
    const context = canvas.getContext("2d");
    const size = fall.length;
    const small = Object.assign(document.createElement("canvas"), { width: size, height: size });
    drawFitted(small, this.#request.image, this.#options.fit);
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    context.globalCompositeOperation = "saturation"; // gray, so that only the map has colors
    context.fillStyle = "#808080";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.globalCompositeOperation = "source-over";

    const colors = palette(["speaks-for", "speaks-against"]);
    const most = peak(fall, LEAST);
    const heat = small.getContext("2d");
    heat.clearRect(0, 0, size, size);
    for (const [y, row] of fall.entries()) {
      for (const [x, value] of row.entries()) {
        heat.globalAlpha = strength(value, most);
        heat.fillStyle = value > 0 ? colors["speaks-for"] : colors["speaks-against"];
        heat.fillRect(x, y, 1, 1);
      }
    }
    context.imageSmoothingEnabled = true;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    if (prediction.probability - strongest.probability >= LEAST) {
      outline(context, strongest, canvas.width / size);
    }
    canvas.dataset.drawn = prediction.index;
    canvas.setAttribute("aria-label", `where covering the image changes the probability of ${prediction.label}`);
  }

  #part(name) {
    return this.#node.querySelector(`[data-saliency-${name}]`);
  }
}

/** Draws a white line inside a black one, visible on any image. */
function outline(context, { x, y, side }, scale) {
  for (const [width, color] of [[6, "#000"], [2, "#fff"]]) {
    context.lineWidth = width;
    context.strokeStyle = color;
    context.strokeRect(x * scale + 3, y * scale + 3, side * scale - 6, side * scale - 6);
  }
}
