// One event stream per page. A hidden tab closes its stream, since browsers allow six connections per host, and
// resumes when shown.
import { backoff } from "../lib/backoff.js";
import { request } from "./request.js";
import { root } from "./root.js";

const KINDS = ["metrics", "status", "log", "finding", "rewind", "checkpoint", "created", "deleted", "media", "task", "task_deleted", "device", "search", "resync"];

/**
 * @param {{runs?: string[], kinds?: string[], after?: number|null, on: Object<string, function(any): void>}} options
 *   `on` has one handler per kind of event, and `connected`, called after each connection.
 */
export function follow({ runs = [], kinds = KINDS, after = null, on }) {
  let source = null;
  let timer = null;
  let attempt = 0;
  let seen = after;

  const address = () => {
    const query = new URLSearchParams();
    if (runs.length) query.set("runs", runs.join(","));
    if (kinds.length < KINDS.length) query.set("kinds", kinds.join(","));
    if (seen !== null) query.set("after", String(seen));
    return `${root}/api/events?${query}`;
  };

  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };

  const open = () => {
    close();
    source = new EventSource(address());
    source.addEventListener("open", () => {
      attempt = 0;
      showLost(false);
      on.connected?.();
    });
    source.addEventListener("error", () => {
      close();
      if (document.hidden) return;
      // The first failure may come from leaving the page or from a server restart: report only repeated failures.
      if (attempt > 0) showLost(true);
      if (attempt === 1) showIfSignedOut();
      timer = setTimeout(open, backoff(attempt));
      attempt += 1;
    });
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        if (event.lastEventId) seen = Number(event.lastEventId);
        on[kind]?.(JSON.parse(event.data));
      });
    }
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (!source) open();
  });
  addEventListener("pagehide", close);
  addEventListener("online", open);
  if (!document.hidden) open();
}

// EventSource does not expose the status of a failed request, so another request checks for 401.
async function showIfSignedOut() {
  const { status } = await request(`${root}/api/presets`, { quiet: true });
  if (status !== 401) return;
  const link = document.createElement("a");
  link.href = `${root}/login?next=${encodeURIComponent(location.pathname + location.search)}`;
  link.textContent = "signed out";
  document.querySelector("[data-connection]").replaceChildren(link);
}

function showLost(lost) {
  const node = document.querySelector("[data-connection]");
  if (!lost) node.textContent = "connection lost";
  node.hidden = !lost;
  document.documentElement.toggleAttribute("data-stale", lost);
}
