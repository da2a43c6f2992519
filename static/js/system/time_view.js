// The view that the charts of the System page share: the time on their x axis, and what is zoomed to.
import { palette } from "../chart/palette.js";
import { ZoomView } from "../chart/zoom_view.js";
import { tick } from "../lib/axis.js";
import { fromAddress } from "../lib/curve_state.js";
import { clock, clockSeconds } from "../lib/format.js";

const SECONDS = { hour: 3600, day: 86400, week: 7 * 86400 };
const SHORTEST = 60; // seconds

export class TimeView extends ZoomView {
  constructor(span, changed) {
    super(fromAddress(location.search, null), changed);
    Object.assign(this, { span, name: "system", axis: "wall", colors: palette(), checkpoints: [], resumes: [], best: null });
    this.first = this.last = Date.now() / 1000;
  }

  /** Shows the time from `first` to `last` (UNIX seconds), as far as it is within the span. */
  reach(first, last) {
    Object.assign(this, { first, last });
  }

  x(time) {
    return time;
  }

  whole() {
    return [Math.max(this.last - SECONDS[this.span], Math.min(this.first, this.last - SHORTEST)), this.last];
  }

  range() {
    return this.zoom ?? this.whole();
  }

  tick(time, length) {
    return tick("wall", time, length);
  }

  whereRows(time) {
    return [["time", this.at(time)]];
  }

  columnNames() {
    return ["time"];
  }

  columnTexts(time) {
    return [this.at(time)];
  }

  at(time) {
    const date = new Date(1000 * time);
    return this.span === "hour" ? clockSeconds(date) : clock(date);
  }
}
