// Has a dataset's statistics computed if they are missing: polls, and reloads the page when they are ready.
const head = document.querySelector("[data-measuring]");

const path = head && `/api/datasets/${encodeURIComponent(head.dataset.dataset)}/statistics`;

async function poll() {
  const response = await fetch(path);
  if (response.status === 200) location.reload();
  else if (response.ok && (await response.json()).status === "measuring") setTimeout(poll, 1000);
}

if (head) fetch(path, { method: "POST" }).then((response) => response.ok && poll());
