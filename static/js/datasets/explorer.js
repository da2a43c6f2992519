// Has a dataset's statistics computed if they are missing: polls, and reloads the page when they are ready or could not
// be computed.
const head = document.querySelector("[data-measuring]");

const path = head && `/api/datasets/${encodeURIComponent(head.dataset.dataset)}/statistics`;

async function poll() {
  const response = await fetch(path);
  if (response.status === 200 || response.status === 503) location.reload();
  else if (response.status === 202) setTimeout(poll, 1000);
}

if (head) fetch(path, { method: "POST" }).then((response) => response.ok && poll());
