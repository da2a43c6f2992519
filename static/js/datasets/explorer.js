// Has a dataset's statistics computed if they are missing: polls, and reloads the page when they are ready or could not
// be computed.
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const RETRY_MS = 3000;
const head = document.querySelector("[data-measuring]");

const path = head && `${root}/api/datasets/${encodeURIComponent(head.dataset.dataset)}/statistics`;

async function poll() {
  const { status } = await request(path, { quiet: true });
  if (status === 200 || status === 503) reload();
  else if (status === 202) setTimeout(poll, 1000);
  else if (status === 0) setTimeout(poll, RETRY_MS);
}

/** Reloads the page once no menu or dialog is open. */
function reload() {
  if (document.querySelector("dialog[open], [data-menu][open]")) setTimeout(reload, 500);
  else location.reload();
}

if (head) request(path, { method: "POST", quiet: true }).then(({ ok }) => ok && poll());
