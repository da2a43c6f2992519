const STRONGEST = 0.8; // opacity; the image stays visible under the map

/** The largest absolute change in the map, at least `least`. */
export function peak(drop, least) {
  return drop.flat().reduce((most, value) => Math.max(most, Math.abs(value)), least);
}

/** The opacity with which a change is drawn. */
export function strength(change, most) {
  return STRONGEST * (Math.abs(change) / most);
}
