/**
 * Sends a form. XMLHttpRequest, since fetch does not tell how much has been sent.
 * @returns {Promise<{status: number, text: string}>} status 0 where the server could not be reached
 */
export function sendForm(address, data, told) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) told(event.loaded, event.total);
    });
    request.addEventListener("loadend", () => resolve({ status: request.status, text: request.responseText }));
    request.send(data);
  });
}

/** The answer's body; where it is none of ours, an error that says so. */
export function answered({ status, text }) {
  try {
    return JSON.parse(text);
  } catch {
    return { error: { message: status === 0 ? "The server could not be reached." : `The server answered ${status}.` } };
  }
}
