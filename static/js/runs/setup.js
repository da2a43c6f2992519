import { toast } from "../shared/page.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";
import { runId, watchRun } from "./show.js";

watchRun();
const form = document.querySelector("[data-edit]");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { tags, ...texts } = Object.fromEntries(new FormData(form));
  const json = { ...texts, tags: tags.split(",").map((tag) => tag.trim()).filter(Boolean) };
  const { ok } = await request(`${root}/api/runs/${runId}`, { method: "PATCH", json, button: form.querySelector("button") });
  if (!ok) return;
  toast("Saved");
  showHeading();
});

/** The tags, the hypothesis and the notes above the tabs, as the server formats them. */
async function showHeading() {
  const { ok, body } = await request(location.href, { as: "text", quiet: true });
  if (!ok) return;
  const fresh = new DOMParser().parseFromString(body, "text/html");
  for (const part of ["[data-tags]", "[data-hypothesis]", "[data-notes]"]) document.querySelector(part).replaceWith(document.adoptNode(fresh.querySelector(part)));
}
