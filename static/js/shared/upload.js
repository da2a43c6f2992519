/**
 * Sends a form. Uses XMLHttpRequest, since fetch does not report upload progress.
 * @param {function(number, number): void} onProgress called with the bytes sent and the total
 * @returns {Promise<{status: number, text: string}>} status 0 if the server could not be reached
 */
export function sendForm(address, data, onProgress) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded, event.total);
    });
    request.addEventListener("loadend", () => resolve({ status: request.status, text: request.responseText }));
    request.send(data);
  });
}

/** The response body parsed as JSON; if it is not JSON, an object with an `error` like the API's. */
export function parseBody({ status, text }) {
  try {
    return JSON.parse(text);
  } catch {
    return { error: { message: status === 0 ? "The server could not be reached." : `The server answered ${status}.` } };
  }
}
