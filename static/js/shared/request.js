// The requests of all scripts. A request never rejects: its failure is shown, and its button can be pressed again.
import { toast } from "./page.js";

/**
 * @param {string} address
 * @param {object} options `json` or `data` (FormData) is the body; `as` is how the answer is read: json, text or blob.
 *   `button` is disabled until the answer is there. With `quiet`, a failure is returned but not shown.
 * @returns {Promise<{ok: boolean, status: number, body: any}>} `body` is the answer, null if there is
 *   none, or {error: {message, ...}} as the API's; `status` is 0 if the server could not be reached
 */
export async function request(address, { method = "GET", json, data, as = "json", button = null, quiet = false } = {}) {
  if (button) button.disabled = true;
  const answer = await send(address, method, json, data, as);
  if (button) button.disabled = false;
  if (!answer.ok && !quiet) toast(answer.body.error.message);
  return answer;
}

async function send(address, method, json, data, as) {
  const headers = json === undefined ? {} : { "Content-Type": "application/json" };
  let status = 0;
  try {
    const response = await fetch(address, { method, headers, body: json === undefined ? data : JSON.stringify(json) });
    status = response.status;
    if (response.ok) return { ok: true, status, body: status === 204 ? null : await response[as]() };
    const { error } = await response.json();
    return { ok: false, status, body: { error: { ...error, message: error.message } } };
  } catch {
    const message = status === 0 ? "The server could not be reached." : `The server answered ${status}, without the expected content.`;
    return { ok: false, status, body: { error: { message } } };
  }
}
