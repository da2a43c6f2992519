// The view that all charts of the Curves tab share: x axis, zoom, smoothing, and which charts are shown and where.
import { palette } from "../chart/palette.js";
import { ZoomView } from "../chart/zoom_view.js";
import { AXES, Clock, tick } from "../lib/axis.js";
import { fromAddress } from "../lib/curve_state.js";
import { clockSeconds, count, duration, figures } from "../lib/format.js";
import { extent, usesEpochs } from "../lib/scale.js";
import { isMoving, page } from "./show.js";

const KEPT = "curves";
const NEAR = 5; // pixels from a mark within which it is named

export class CurveView extends ZoomView {
  constructor(attempts, changed) {
    super(fromAddress(location.search, kept()), changed);
    Object.assign(this, { attempts, name: page.dataset.name, colors: palette(), checkpoints: [], best: null, end: 0, reached: 0, clock: new Clock() });
    this.measure();
    this.keep();
    this.x = this.x.bind(this);
    this.tick = (value, span) => tick(this.axis, value, span);
  }

  /** Reads what the head of the page says of the run's length and its best step. */
  measure() {
    const { totalSteps, stepsPerEpoch, bestStep } = page.dataset;
    this.total = Number(totalSteps);
    this.perEpoch = Number(stepsPerEpoch);
    this.best = bestStep === undefined ? null : Number(bestStep);
    const axis = this.possible(this.state.x ?? (usesEpochs(this.total, this.perEpoch) ? "epoch" : "step"));
    if (axis !== this.axis) Object.assign(this, { axis, end: 0 });
  }

  possible(axis) {
    if (axis === "epoch") return this.perEpoch > 0 ? "epoch" : "step";
    return axis === "step" || !this.clock.isEmpty ? axis : "step";
  }

  /** The attempts {number, step} that continued the run. */
  get resumes() {
    return this.attempts.slice(1);
  }

  x(step) {
    if (this.axis === "step") return step;
    return this.axis === "epoch" ? step / this.perEpoch : this.clock.at(step, this.axis);
  }

  stepAt(value) {
    if (this.axis === "step") return value;
    return this.axis === "epoch" ? value * this.perEpoch : this.clock.stepAt(value, this.axis);
  }

  xTitle() {
    return AXES[this.axis];
  }

  range() {
    return this.zoom ?? this.whole();
  }

  whole() {
    const first = this.axis === "wall" ? this.clock.wall[0] : 0;
    return [first, Math.max(this.end, first + 1e-3)];
  }

  /** Fits the x axis to the last step that was reached. */
  reach(step, points) {
    const live = isMoving(page.dataset.status) || page.dataset.status === "queued";
    this.clock = new Clock(points, this.attempts);
    this.measure();
    const first = this.axis === "wall" ? this.clock.wall[0] : 0;
    const total = this.axis === "step" || this.axis === "epoch" ? this.x(this.total) : 0;
    const x = this.x(step) - first;
    this.reached = live ? x + first : Infinity;
    this.end = first + extent(Math.max(0, this.end - first), x, total, live);
  }

  whereRows(step) {
    const rows = [["step", count(step)]];
    if (this.perEpoch > 0) rows.push(["epoch", figures(step / this.perEpoch)]);
    if (!this.clock.isEmpty) {
      rows.push(["time", `${clockSeconds(new Date(1000 * this.clock.at(step, "wall")))}, after ${duration(this.clock.at(step, "relative"))}`]);
    }
    const found = this.near(step, this.checkpoints);
    if (found) rows.push([found.best ? "best checkpoint" : "checkpoint", `step ${count(found.step)}`]);
    const resumed = this.near(step, this.resumes);
    if (resumed) rows.push(["resumed", `attempt ${resumed.number}, from step ${count(resumed.step)}`]);
    return rows;
  }

  /** The last of the `marked` checkpoints or attempts whose mark is at the cursor. */
  near(step, marked) {
    const [from, to] = this.range();
    const within = (NEAR * (to - from)) / 600;
    return marked.findLast((item) => Math.abs(this.x(item.step) - this.x(step)) <= within);
  }

  /** The first columns of a table: the step and the other x, if one is chosen. */
  columnNames() {
    return this.axis === "step" ? ["step"] : ["step", this.axis === "epoch" ? "epoch" : "time"];
  }

  columnTexts(step) {
    if (this.axis === "step") return [String(step)];
    return [String(step), this.axis === "epoch" ? (step / this.perEpoch).toFixed(2) : tick(this.axis, this.x(step), 0)];
  }

  bestName() {
    return page.dataset.bestEpoch === undefined ? `step ${count(this.best)}` : `epoch ${page.dataset.bestEpoch}`;
  }

  /** The zoom shows the same steps on the other axis. */
  setAxis(axis) {
    const steps = this.zoom?.map((value) => this.stepAt(value));
    this.axis = this.possible(axis);
    this.end = 0;
    this.set({ x: axis, zoom: steps ? steps.map(this.x) : null });
  }

  toggle(list, id) {
    const has = this.state[list].includes(id);
    this.set({ [list]: has ? this.state[list].filter((item) => item !== id) : [...this.state[list], id] });
  }

  keep() {
    const { zoom, y, ...lasting } = this.state;
    localStorage.setItem(KEPT, JSON.stringify(lasting));
    super.keep();
  }
}

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT));
  } catch {
    return null;
  }
}
