// Updates the findings above the tabs without a reload.
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const strip = document.querySelector("[data-findings]");

export async function showFindings(run) {
  const { ok, body } = await request(`${root}/runs/${run}/findings`, { as: "text", quiet: true });
  if (!ok) return;
  const held = strip.contains(document.activeElement) ? document.activeElement.closest("[data-finding]")?.dataset.finding : null;
  strip.innerHTML = body;
  if (held) strip.querySelector(`[data-finding="${CSS.escape(held)}"] button`)?.focus();
}
