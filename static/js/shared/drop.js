/** Makes a label that contains a file input accept dropped files; `take` receives (files, dataTransfer). */
export function bindDrop(label, take) {
  for (const kind of ["dragenter", "dragover"]) {
    label.addEventListener(kind, (event) => {
      event.preventDefault();
      label.dataset.over = "";
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    label.addEventListener(kind, (event) => {
      event.preventDefault();
      delete label.dataset.over;
    });
  }
  label.addEventListener("drop", (event) => {
    if (event.dataTransfer.files.length) take(event.dataTransfer.files, event.dataTransfer);
  });
}
