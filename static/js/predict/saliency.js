// A heat map over the image: where covering it changes a class's probability.
import { share } from "../lib/format.js";
import { peak, strength } from "../lib/saliency.js";
import { drawFitted } from "./fitted_image.js";
import { palette } from "../chart/palette.js";

const LEAST = 0.01; // changes below one point are not painted any stronger

export class SaliencyFigure {
  #node;
  #options;
  #asked = null;
  #shown = null;

  constructor(node, options) {
    this.#node = node;
    this.#options = options;
    addEventListener("themechange", () => this.#shown && this.#paint());
  }

  clear() {
    this.#asked = this.#shown = null;
    this.#node.hidden = true;
  }

  /** The map of the same image for another class. */
  again(index) {
    if (this.#asked) this.ask(this.#asked.file, this.#asked.image, this.#asked.run, index);
  }

  async ask(file, image, run, index) {
    const asked = (this.#asked = { file, image, run });
    const body = new FormData();
    body.append("file", file);
    const query = new URLSearchParams({ model: run, class: index });
    try {
      const found = await (await fetch(`/api/predict/saliency?${query}`, { method: "POST", body })).json();
      if (asked !== this.#asked) return;
      if (found.error) this.#options.failed(found.error.message);
      else this.#show(found);
    } catch {
      if (asked === this.#asked) this.#options.failed("The server could not be reached.");
    }
  }

  #show(found) {
    const { prediction, strongest } = (this.#shown = found);
    this.#node.hidden = false;
    this.#options.shown(prediction.index);
    const side = `${strongest.side}×${strongest.side}`;
    this.#part("title").textContent = `What speaks for ${prediction.label}`;
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
    const pen = canvas.getContext("2d");
    const size = fall.length;
    const small = Object.assign(document.createElement("canvas"), { width: size, height: size });
    drawFitted(small, this.#asked.image, this.#options.fit);
    pen.imageSmoothingEnabled = false;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
    pen.globalCompositeOperation = "saturation"; // grey, so that the map's colours are the only ones
    pen.fillStyle = "#808080";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.globalCompositeOperation = "source-over";

    const colours = palette(["speaks-for", "speaks-against"]);
    const most = peak(fall, LEAST);
    const heat = small.getContext("2d");
    heat.clearRect(0, 0, size, size);
    for (const [y, row] of fall.entries()) {
      for (const [x, value] of row.entries()) {
        heat.globalAlpha = strength(value, most);
        heat.fillStyle = value > 0 ? colours["speaks-for"] : colours["speaks-against"];
        heat.fillRect(x, y, 1, 1);
      }
    }
    pen.imageSmoothingEnabled = true;
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
    if (prediction.probability - strongest.probability >= LEAST) {
      outline(pen, strongest, canvas.width / size);
    }
    canvas.dataset.drawn = prediction.index;
    canvas.setAttribute("aria-label", `where covering the image changes the probability of ${prediction.label}`);
  }

  #part(name) {
    return this.#node.querySelector(`[data-saliency-${name}]`);
  }
}

/** White within black: seen on any image. */
function outline(pen, { x, y, side }, scale) {
  for (const [width, colour] of [[6, "#000"], [2, "#fff"]]) {
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.strokeRect(x * scale + 3, y * scale + 3, side * scale - 6, side * scale - 6);
  }
}
