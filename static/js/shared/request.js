// The requests of all scripts. A request never rejects: its failure is shown, and its button can be pressed again.
import { toast } from "./page.js";

/**
 * @param {string} address
 * @param {object} options `json` or `data` (FormData) is the body; `as` is how the answer is read: json, text or blob.
 *   `button` is disabled until the answer is there. With `quiet`, a failure is returned but not shown.
 *   `keepalive` lets the request outlive the page.
 * @returns {Promise<{ok: boolean, status: number, body: any}>} `body` is the answer, null if there is
 *   none, or {error: {message, ...}} as the API's; `status` is 0 if the server could not be reached
 */
export async function request(address, { method = "GET", json, data, as = "json", button = null, quiet = false, keepalive = false } = {}) {
  if (button) button.disabled = true;
  const answer = await send(address, { method, json, data, as, keepalive });
  if (button) button.disabled = false;
  if (!answer.ok && !quiet) toast(answer.body.error.message);
  return answer;
}

async function send(address, { method, json, data, as, keepalive }) {
  const headers = json === undefined ? {} : { "Content-Type": "application/json" };
  let status = 0;
  try {
    const body = json === undefined ? data : JSON.stringify(json);
    const response = await fetch(address, { method, headers, body, keepalive });
    status = response.status;
    if (response.ok) return { ok: true, status, body: status === 204 ? null : await response[as]() };
    const { error } = await response.json();
    return { ok: false, status, body: { error: { ...error, message: error.message } } };
  } catch {
    const message = status === 0 ? "The server could not be reached." : `The server answered ${status}, without the expected content.`;
    return { ok: false, status, body: { error: { message } } };
  }
}
