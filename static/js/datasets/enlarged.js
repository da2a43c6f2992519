// An image of the page, enlarged in a dialog. The arrow keys go to the next and the previous one.
const SMALL = 128; // pixels; images up to this size show their pixels
const MOST = 640;
const AROUND = 260; // pixels of the window's height beside the image

const links = [...document.querySelectorAll("[data-image]")];
const dialog = document.querySelector("[data-enlarged]");
const image = dialog.querySelector("img");
const buttons = [...dialog.querySelectorAll("[data-by]")];
let shown = 0;

for (const [index, link] of links.entries()) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(index);
    dialog.showModal();
  });
}
for (const button of buttons) button.addEventListener("click", () => show(shown + Number(button.dataset.by)));
dialog.addEventListener("keydown", (event) => {
  const to = { ArrowRight: shown + 1, ArrowLeft: shown - 1, Home: 0, End: links.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  show(to);
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("close", () => links[shown].focus());
image.addEventListener("load", fit);
addEventListener("resize", fit);

function show(index) {
  if (!links[index]) return;
  shown = index;
  const { href, dataset } = links[index];
  image.src = href;
  image.alt = dataset.label;
  dialog.querySelector("h2").textContent = dataset.label;
  dialog.querySelector("[data-file]").textContent = dataset.file;
  dialog.querySelector("[data-place]").textContent = `${dataset.place} · image ${index + 1} of ${links.length} on this page`;
  for (const button of buttons) button.disabled = !links[index + Number(button.dataset.by)];
}

/** As large as there is room for; a small image by a whole factor, so that its pixels stay square. */
function fit() {
  const { naturalWidth: size } = image;
  const room = Math.min(MOST, innerWidth - 64, innerHeight - AROUND);
  const factor = size < room && size <= SMALL ? Math.floor(room / size) : room / size;
  image.width = image.height = Math.round(size * factor);
  image.classList.toggle("px", size <= SMALL);
}
