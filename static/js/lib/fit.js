/**
 * The rectangle in which an image of `width` × `height` is drawn in a square of `size` pixels; `fit` is the dataset's:
 * crop, pad or squash.
 */
export function fitted(width, height, size, fit) {
  if (fit === "squash") return { x: 0, y: 0, width: size, height: size };
  const scale = size / (fit === "pad" ? Math.max(width, height) : Math.min(width, height));
  const drawn = { width: width * scale, height: height * scale };
  return { x: (size - drawn.width) / 2, y: (size - drawn.height) / 2, ...drawn };
}
