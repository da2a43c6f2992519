import { fitted } from "../lib/fit.js";

/** As the network sees it: fitted to the canvas as the data set's images were. False, and blank, without an image. */
export function drawFitted(canvas, image, fit) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (!image) return false;
  const box = fitted(image.width, image.height, canvas.width, fit);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, box.x, box.y, box.width, box.height);
  return true;
}
