// One model's prediction for the image: the top classes, an out-of-distribution warning, and the occlusion map.
import { share } from "../lib/format.js";
import { SaliencyFigure } from "./saliency.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const TOP_K = 5;

export class AnswerPanel {
  #node;
  #figure;
  #lastRequest = 0;

  constructor(node) {
    this.#node = node;
    this.#figure = new SaliencyFigure(node.querySelector("[data-saliency]"), {
      fit: node.dataset.fit,
      onShown: (index) => this.#markPressed(index),
      onFailed: (message) => this.#showNote(`${this.#part("answer-note").textContent} · no map: ${message}`),
    });
  }

  get title() {
    return this.#node.dataset.title;
  }

  get model() {
    return this.#node.dataset.model;
  }

  /** Shows the prediction and returns it; returns null on an error, or if another image was chosen meanwhile. */
  async classify(file, image, sample) {
    const request = ++this.#lastRequest;
    this.#figure.clear();
    this.#showNote("");
    const answer = await this.#fetchAnswer(file);
    if (request !== this.#lastRequest) return null;
    if (answer.error) return this.#fail(answer.error.message);
    this.#show(answer, sample);
    this.#figure.load(file, image, answer.model.run, answer.predictions[0].index);
    return answer;
  }

  async #fetchAnswer(file) {
    const data = new FormData();
    data.append("file", file);
    const query = new URLSearchParams({ model: this.model, top_k: TOP_K });
    return (await request(`${root}/api/predict?${query}`, { method: "POST", data, quiet: true })).body;
  }

  #show({ predictions, decision, familiarity, model, timing_ms: timing, cold }, sample) {
    const top = predictions[0];
    this.#part("answer-empty").hidden = true;
    this.#part("answer-top").hidden = false;
    this.#part("top-label").textContent = top.label;
    this.#part("top-share").textContent = share(top.probability);
    this.#part("predictions").replaceChildren(...predictions.map((item) => this.#bar(item)));
    this.#warn(familiarity);
    this.#part("unsure").hidden = decision !== "unsure";
    const moved = model.run !== this.#node.dataset.run;
    this.#part("answer-moved").hidden = !moved;
    if (moved) this.#part("answer-moved").replaceChildren(...movedMessage(this.title, model.run));
    this.#showNote(note(top, model, timing, cold, sample));
  }

  #bar({ label, index, probability, superclass }) {
    const row = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button", title: superclass ?? label });
    button.dataset.class = index;
    button.setAttribute("aria-pressed", "false");
    const name = Object.assign(document.createElement("span"), { textContent: label });
    name.dataset.label = label;
    const track = document.createElement("i");
    const fill = document.createElement("b");
    fill.style.width = `${100 * probability}%`;
    track.append(fill);
    button.append(name, track, Object.assign(document.createElement("output"), { textContent: share(probability) }));
    button.addEventListener("click", () => this.#figure.showClass(index));
    row.append(button);
    return row;
  }

  #warn(familiarity) {
    const node = this.#part("unfamiliar");
    node.hidden = !familiarity || familiarity.familiar;
    if (node.hidden) return;
    const { score, threshold, answers } = familiarity;
    const title = Object.assign(document.createElement("strong"), { textContent: "Possibly out of distribution. " });
    node.replaceChildren(
      title,
      `The likeliest class has only ${share(score, 1)}. Of the ${answers.toLocaleString("en-US")} validation images that ` +
        `this model got right, 99% had ${share(threshold, 1)} or more.`,
    );
  }

  #markPressed(index) {
    for (const button of this.#part("predictions").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.class) === index));
    }
  }

  #fail(message) {
    this.#part("answer-empty").hidden = true;
    for (const name of ["answer-top", "unsure", "unfamiliar", "answer-moved"]) this.#part(name).hidden = true;
    this.#part("predictions").replaceChildren();
    this.#showNote(message);
    return null;
  }

  #showNote(text) {
    this.#part("answer-note").textContent = text;
  }

  #part(name) {
    return this.#node.querySelector(`[data-${name}]`);
  }
}

function note(top, model, timing, cold, sample) {
  const parts = [];
  const truth = sample && sample.dataset === model.dataset && (model.target === "coarse" ? sample.truthCoarse : sample.truth);
  if (truth) parts.push(`${truth === top.label ? "right" : "wrong"}: labeled ${truth}`);
  if (top.superclass) parts.push(`superclass ${top.superclass}`);
  const total = Object.values(timing).reduce((sum, value) => sum + value, 0);
  const named = Object.entries(timing).map(([name, value]) => `${name} ${value.toFixed(1)}`).join(", ");
  parts.push(`${total.toFixed(1)} ms (${named})`);
  if (cold) parts.push("cold start");
  if (model.epoch !== null && model.epoch !== undefined) parts.push(`checkpoint of epoch ${model.epoch}`);
  return parts.join(" · ");
}

/** The message if the name was assigned to another run after the page was rendered. */
function movedMessage(title, run) {
  const link = Object.assign(document.createElement("a"), { href: `${root}/runs/${run}`, className: "link", textContent: `run ${run}` });
  return [`${title} has moved since this page was opened: it was `, link, " that answered."];
}
