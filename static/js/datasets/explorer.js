// A data set that is being measured for the first time: its page is shown anew once that is done.
const head = document.querySelector("[data-measuring]");

async function look() {
  const response = await fetch(`/api/datasets/${encodeURIComponent(head.dataset.dataset)}/statistics`);
  if (response.status === 200) location.reload();
  else if (response.ok && (await response.json()).status === "measuring") setTimeout(look, 1000);
}

if (head) look();
