// The part of a page's charts that is shown, in `state` (lib/curve_state.js), kept in the address.
import { intoAddress } from "../lib/curve_state.js";

const KEEP_DELAY_MS = 200;

export class ZoomView {
  /** `changed` is called with the names of what changed. */
  constructor(state, changed) {
    Object.assign(this, { state, changed });
  }

  get zoom() {
    return this.state.zoom;
  }

  get isZoomed() {
    return this.zoom !== null || Object.keys(this.state.y).length > 0;
  }

  /** `x` applies to all charts, `y` to the one with that id; undefined: as before. */
  setZoom(x, y, id) {
    const change = {};
    if (x !== undefined) change.zoom = x;
    if (y !== undefined) change.y = { ...this.state.y, [id]: y };
    this.set(change);
  }

  resetZoom() {
    this.set({ zoom: null, y: {} });
  }

  set(change) {
    Object.assign(this.state, change);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.keep(), "smooth" in change ? KEEP_DELAY_MS : 0); // browsers limit how often an address is written
    this.changed(Object.keys(change));
  }

  keep() {
    const address = intoAddress(new URL(location.href), this.state);
    history.replaceState(null, "", address.href.replaceAll("%2C", ",").replaceAll("%2F", "/").replaceAll("%7E", "~"));
  }
}
