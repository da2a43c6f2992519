// Copies the results table to the clipboard as Markdown.
import { toast } from "../shared/page.js";

const button = document.querySelector("[data-copy-markdown]");
if (button && navigator.clipboard) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const response = await fetch(button.dataset.copyMarkdown);
    if (!response.ok) return toast("The table could not be fetched.");
    await navigator.clipboard.writeText(await response.text());
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy as Markdown"), 1500);
    return undefined;
  });
}
