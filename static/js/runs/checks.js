// The Checks tab: what it shows is rendered by the server, again whenever the run has something new to show.
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
  const response = await fetch(location.href);
  if (response.ok) {
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-checks]");
    tab.replaceChildren(...fresh.childNodes);
  }
  fetching = false;
  if (again && !tab.contains(document.activeElement)) {
    again = false;
    refresh();
  }
}

// Nothing is swapped under a person's hands; what waited is shown once they have moved on.
tab.addEventListener("focusout", () => {
  if (again && !fetching) setTimeout(refresh); // the focus has left by then
});
