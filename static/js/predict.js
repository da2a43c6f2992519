// Classifying an image: dropped, pasted, chosen, or one of the data set's own.
import { percent } from "./lib/format.js";
import { fitted } from "./lib/fit.js";
import { bindDrop } from "./drop.js";

const TOP_K = 5;

const page = document.querySelector("[data-predict]");
if (page) bind();

function bind() {
  const input = page.querySelector("[data-predict-file]");
  input.addEventListener("change", () => input.files[0] && classify(input.files[0]));
  bindDrop(page.querySelector("[data-drop]"), (files) => classify(files[0]));
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((item) => item.type.startsWith("image/"));
    if (file) classify(file);
  });
  for (const button of page.querySelectorAll("[data-test-image]")) {
    button.addEventListener("click", async () => {
      const response = await fetch(button.dataset.testImage);
      const file = new File([await response.blob()], "test.png", { type: "image/png" });
      press(button);
      classify(file, button.dataset.truth);
    });
  }
}

async function classify(file, truth = "") {
  if (!truth) press(null);
  draw(file);
  const body = new FormData();
  body.append("file", file);
  const query = new URLSearchParams({ model: page.dataset.model, top_k: TOP_K });
  say("");
  try {
    const response = await fetch(`/api/predict?${query}`, { method: "POST", body });
    const answer = await response.json();
    if (response.ok) show(answer, truth);
    else fail(answer.error.message);
  } catch {
    fail("The server could not be reached.");
  }
}

/** As the network sees it: fitted to the data set's size as its images were. */
async function draw(file) {
  const canvas = page.querySelector("[data-canvas]");
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  try {
    const image = await createImageBitmap(file, { imageOrientation: "from-image" });
    const box = fitted(image.width, image.height, canvas.width, page.dataset.fit);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(image, box.x, box.y, box.width, box.height);
    page.querySelector("[data-seen]").hidden = false;
  } catch {
    page.querySelector("[data-seen]").hidden = true; // a kind of image that the browser does not read; the server may
  }
}

function show({ predictions, timing_ms: timing, model }, truth) {
  page.querySelector("[data-answer-empty]").hidden = true;
  page.querySelector("[data-answer-top]").hidden = false;
  page.querySelector("[data-top-label]").textContent = predictions[0].label;
  page.querySelector("[data-top-share]").textContent = `${percent(predictions[0].probability, 0)}%`;
  page.querySelector("[data-predictions]").replaceChildren(...predictions.map(bar));
  const parts = [];
  if (truth) parts.push(truth === predictions[0].label ? `right: it is labelled ${truth}` : `wrong: it is labelled ${truth}`);
  if (predictions[0].superclass) parts.push(`superclass ${predictions[0].superclass}`);
  const total = Object.values(timing).reduce((sum, value) => sum + value, 0);
  const named = Object.entries(timing).map(([name, value]) => `${name} ${value.toFixed(1)}`).join(", ");
  parts.push(`${total.toFixed(1)} ms (${named})`);
  if (model.epoch !== null && model.epoch !== undefined) parts.push(`checkpoint of epoch ${model.epoch}`);
  say(parts.join(" · "));
}

function bar({ label, probability, superclass }) {
  const row = document.createElement("li");
  const name = Object.assign(document.createElement("span"), { textContent: label, title: superclass ?? label });
  name.dataset.label = label;
  const track = document.createElement("i");
  const fill = document.createElement("b");
  fill.style.width = `${100 * probability}%`;
  track.append(fill);
  const share = probability >= 0.1 ? percent(probability, 0) : percent(probability, 1);
  row.append(name, track, Object.assign(document.createElement("output"), { textContent: `${share}%` }));
  return row;
}

function fail(message) {
  page.querySelector("[data-answer-empty]").hidden = true;
  page.querySelector("[data-answer-top]").hidden = true;
  page.querySelector("[data-predictions]").replaceChildren();
  say(message);
}

function say(text) {
  page.querySelector("[data-answer-note]").textContent = text;
}

function press(chosen) {
  for (const button of page.querySelectorAll("[data-test-image]")) button.setAttribute("aria-pressed", String(button === chosen));
}
