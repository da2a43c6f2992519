import { fitted } from "../lib/fit.js";

/**
 * Draws the image as the network receives it, resized as the dataset's images were. Clears the canvas and returns
 * false if `image` is null.
 */
export function drawFitted(canvas, image, fit) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!image) return false;
  const box = fitted(image.width, image.height, canvas.width, fit);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, box.x, box.y, box.width, box.height);
  return true;
}
