// Classifies an image (dropped, pasted, chosen, or one of the dataset's test images) with one model or two.
import { share } from "../lib/format.js";
import { AnswerPanel } from "./answer_panel.js";
import { bindDrop } from "../shared/drop.js";
import { drawFitted } from "./fitted_image.js";
import { RecentPredictions } from "./recent_predictions.js";
import { request } from "../shared/request.js";

const page = document.querySelector("[data-predict]");
if (page) bind();

function bind() {
  const panels = [...page.querySelectorAll("[data-panel]")].map((node) => new AnswerPanel(node));
  const recent = new RecentPredictions(page.querySelector("[data-recent-box]"));
  let lastRequest = 0;

  async function classify(file, sample = null) {
    const request = ++lastRequest;
    markPressed(sample);
    showVerdict("");
    const image = await decoded(file);
    if (request !== lastRequest) return;
    const canvas = page.querySelector("[data-canvas]");
    const drawn = drawFitted(canvas, image, canvas.dataset.fit);
    page.querySelector("[data-seen]").hidden = !drawn;
    const answers = await Promise.all(panels.map((panel) => panel.classify(file, image, sample?.dataset)));
    if (request !== lastRequest || answers.includes(null)) return;
    page.querySelector("[data-answer]").scrollIntoView({ block: "nearest" }); // on a phone it is below the image
    if (answers.length > 1) showVerdict(verdict(panels, answers));
    recent.add(drawn ? canvas : null, panels, answers);
  }

  const input = page.querySelector("[data-predict-file]");
  input.addEventListener("change", () => input.files[0] && classify(input.files[0]));
  bindDrop(page.querySelector("[data-drop]"), (files) => classify(files[0]));
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((item) => item.type.startsWith("image/"));
    if (file) classify(file);
  });
  for (const button of page.querySelectorAll("[data-test-image]")) {
    button.addEventListener("click", async () => {
      const { ok, body } = await request(button.dataset.testImage, { as: "blob" });
      if (ok) classify(new File([body], "test.png", { type: "image/png" }), button);
    });
  }
}

/** The decoded image; null if the browser does not support its format, which the server may support. */
async function decoded(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
}

function verdict(panels, answers) {
  const [first, second] = answers.map((answer) => answer.predictions[0]);
  if (first.label === second.label) return `Both say ${first.label}.`;
  const says = [first, second].map((top, at) => `${panels[at].title} says ${top.label} (${share(top.probability)})`);
  return `They differ: ${says.join(", ")}.`;
}

function showVerdict(text) {
  const node = page.querySelector("[data-verdict]");
  node.textContent = text;
  node.hidden = !text;
  node.toggleAttribute("data-differ", text.startsWith("They"));
}

function markPressed(chosen) {
  for (const button of page.querySelectorAll("[data-test-image]")) button.setAttribute("aria-pressed", String(button === chosen));
}
