// The Checks tab: rendered by the server, and fetched again on each new finding or checkpoint.
import { request } from "../shared/request.js";
import { watchRun } from "./show.js";

const tab = document.querySelector("[data-checks]");
let fetching = false;
let again = false;

watchRun({ finding: refresh, checkpoint: refresh, resync: refresh });

async function refresh() {
  if (fetching || tab.contains(document.activeElement)) {
    again = true;
    return;
  }
  fetching = true;
  const { ok, body } = await request(location.href, { as: "text", quiet: true });
  if (ok) {
    const fresh = new DOMParser().parseFromString(body, "text/html").querySelector("[data-checks]");
    tab.replaceChildren(...fresh.childNodes);
  }
  fetching = false;
  if (again && !tab.contains(document.activeElement)) {
    again = false;
    refresh();
  }
}

// Content is not replaced while it has the focus; a postponed refresh runs when the focus leaves.
tab.addEventListener("focusout", () => {
  if (again && !fetching) setTimeout(refresh); // by then the focus has moved
});
