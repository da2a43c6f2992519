// While a dataset's statistics are computed for the first time: polls, and reloads the page when they are ready.
const head = document.querySelector("[data-measuring]");

async function poll() {
  const response = await fetch(`/api/datasets/${encodeURIComponent(head.dataset.dataset)}/statistics`);
  if (response.status === 200) location.reload();
  else if (response.ok && (await response.json()).status === "measuring") setTimeout(poll, 1000);
}

if (head) poll();
