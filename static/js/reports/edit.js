// Writing a report: its preview is drawn anew when the typing pauses.
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";
import { drawCharts } from "./charts.js";

const PAUSE_MS = 500;

const form = document.querySelector("[data-report-form]");
const text = form.querySelector("[data-text]");
const fault = form.querySelector("[data-fault]");
const preview = form.querySelector("[data-preview]");
const saved = JSON.stringify([...new FormData(form)]);
let timer = 0;
let latest = 0;
let leaving = false;

text.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(show, PAUSE_MS);
});
form.addEventListener("submit", () => (leaving = true));
addEventListener("beforeunload", (event) => {
  if (!leaving && JSON.stringify([...new FormData(form)]) !== saved) event.preventDefault();
});
await show();

async function show() {
  const number = (latest += 1);
  const { ok, body } = await request(`${root}/reports/preview`, { method: "POST", data: new URLSearchParams({ text: text.value }), as: "text", quiet: true });
  if (number !== latest) return;
  fault.hidden = ok;
  if (!ok) {
    fault.textContent = body?.error?.message ?? "The preview cannot be drawn.";
    return;
  }
  preview.innerHTML = body;
  await drawCharts(preview);
}
