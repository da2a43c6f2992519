// Updates the findings above the tabs without a reload.
const strip = document.querySelector("[data-findings]");

export async function showFindings(run) {
  const response = await fetch(`/runs/${run}/findings`);
  if (!response.ok) return;
  const held = strip.contains(document.activeElement) ? document.activeElement.closest("[data-finding]")?.dataset.finding : null;
  strip.innerHTML = await response.text();
  if (held) strip.querySelector(`[data-finding="${CSS.escape(held)}"] button`)?.focus();
}
