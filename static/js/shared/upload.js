// Uploads with progress. XMLHttpRequest reports what has been sent; fetch does not.
import { root } from "./root.js";

const SOON = 1000; // ms until a chunk is sent again, twice as long each time
const LATE = 30000;

/**
 * Sends a form.
 * @param {function(number, number): void} onProgress called with the bytes sent and the total
 * @returns {Promise<{status: number, text: string}>} status 0 if the server could not be reached
 */
export function sendForm(address, data, onProgress) {
  return send("POST", address, data, {}, onProgress);
}

/** The response body parsed as JSON; if it is not JSON, an object with an `error` like the API's. */
export function parseBody({ status, text }) {
  try {
    return JSON.parse(text);
  } catch {
    return { error: { message: status === 0 ? "The server could not be reached." : `The server answered ${status}.` } };
  }
}

/**
 * Sends a file in chunks. After a broken connection it continues where it was, also on a page that was loaded anew.
 * @param {function(number, number): void} onProgress
 * @param {function(number): void} onWait called with the seconds until the next attempt
 * @returns {Promise<{id: string} | {status: number, body: object}>} the upload's id, or the server's refusal
 */
export async function sendInChunks(file, onProgress, onWait) {
  const key = `upload ${file.name} ${file.size} ${file.lastModified}`;
  let upload = await known(key);
  let wait = SOON;
  while (!upload || upload.offset < file.size) {
    const sent = upload?.offset ?? 0;
    const answer = upload
      ? await sendChunk(upload, file, (loaded) => onProgress(sent + loaded, file.size))
      : await send("POST", `${root}/api/uploads`, JSON.stringify({ name: file.name, size: file.size }), { "Content-Type": "application/json" });
    const body = parseBody(answer);
    if (answer.status === 200 || answer.status === 201) {
      upload = body;
      localStorage.setItem(key, upload.id);
      wait = SOON;
    } else if (answer.status === 409) {
      upload = { ...upload, offset: body.error.detail.offset };
    } else if (answer.status === 404 && upload) {
      upload = null; // it is older than a week, or was imported
    } else if (answer.status === 0 || answer.status >= 500 || [408, 429].includes(answer.status) || (upload && answer.status === 422)) {
      if (answer.status === 507) return { status: answer.status, body };
      onWait(wait / 1000);
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(LATE, 2 * wait);
      upload = (await known(key)) ?? upload;
    } else {
      return { status: answer.status, body };
    }
  }
  return { id: upload.id, forget: () => localStorage.removeItem(key) };
}

/** The upload of this file that was begun before, if the server still has it. */
async function known(key) {
  const id = localStorage.getItem(key);
  if (!id) return null;
  const answer = await send("GET", `${root}/api/uploads/${id}`);
  return answer.status === 200 ? parseBody(answer) : null;
}

async function sendChunk({ id, offset, chunk_bytes: bytes }, file, onProgress) {
  const chunk = await file.slice(offset, offset + bytes).arrayBuffer();
  const headers = { "Content-Type": "application/octet-stream" };
  if (crypto.subtle) { // only where the address is https or this machine
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", chunk));
    headers["Content-Digest"] = `sha-256=:${btoa(String.fromCharCode(...hash))}:`;
  }
  return send("PUT", `${root}/api/uploads/${id}?offset=${offset}`, chunk, headers, onProgress);
}

function send(method, address, body, headers = {}, onProgress = () => {}) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.setRequestHeader("Accept", "application/json");
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded, event.total);
    });
    request.addEventListener("loadend", () => resolve({ status: request.status, text: request.responseText }));
    request.send(body);
  });
}
