// Copies the results table to the clipboard as Markdown.
import { request } from "../shared/request.js";

const button = document.querySelector("[data-copy-markdown]");
if (button && navigator.clipboard) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const { ok, body } = await request(button.dataset.copyMarkdown, { as: "text", button });
    if (!ok) return;
    await navigator.clipboard.writeText(body);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy as Markdown"), 1500);
  });
}
