// A square matrix drawn on a canvas.

/** The [row, column] under a pointer, for a matrix of `side` × `side` cells that fills `box`. */
export function place({ clientX, clientY }, box, side) {
  const within = (share) => Math.min(side - 1, Math.max(0, Math.floor(share * side)));
  return [within((clientY - box.top) / box.height), within((clientX - box.left) / box.width)];
}

/** The opacity (0 to 1) of a cell that holds `share` of its row; small shares stay visible. */
export function shade(share) {
  return share <= 0 ? 0 : 0.12 + 0.88 * Math.sqrt(Math.min(1, share));
}
