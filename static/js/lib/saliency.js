const STRONGEST = 0.8; // what is painted over the image still lets it through

/** The largest change in the map, whichever way, and no less than `least`. */
export function peak(fall, least) {
  return fall.flat().reduce((most, value) => Math.max(most, Math.abs(value)), least);
}

/** How opaque a change is painted. */
export function strength(change, most) {
  return STRONGEST * (Math.abs(change) / most);
}
