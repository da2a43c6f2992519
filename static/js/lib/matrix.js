// A square matrix on a canvas.

/** The [row, column] under a pointer, for a matrix of `side` cells in `box`. */
export function place({ clientX, clientY }, box, side) {
  const within = (share) => Math.min(side - 1, Math.max(0, Math.floor(share * side)));
  return [within((clientY - box.top) / box.height), within((clientX - box.left) / box.width)];
}

/** How strongly a share of a row is drawn: what is rare can still be seen. */
export function shade(share) {
  return share <= 0 ? 0 : 0.12 + 0.88 * Math.sqrt(Math.min(1, share));
}
