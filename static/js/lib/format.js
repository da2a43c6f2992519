// Formats numbers and times; app/display/formatting.py is the server's counterpart.
const Z95 = 1.959964;
const ACCURACY = /(^|_)(acc\d*|f1)(_|$)/;

/** 12 s · 3:41 · 1 h 12 · 2 d 3 h */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)}`;
  const minutes = Math.round(whole / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)}`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A rough duration: about 40 s · about 4 min · about 1 h 12 */
export function about(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  if (seconds < 55) return `about ${Math.max(1, Math.round(seconds / 10))}0 s`;
  const minutes = Math.max(1, Math.round(seconds / 60));
  return minutes < 60 ? `about ${minutes} min` : `about ${duration(60 * minutes)}`;
}

/** The elapsed time in coarse units, because a number that changes every second distracts. */
export function ago(seconds) {
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** Scientific notation (3e-4) below 0.01 and for non-integers from 1e6 on; otherwise up to six significant digits. */
export function number(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return String(value);
  if (value !== 0 && (Math.abs(value) < 0.01 || (Math.abs(value) >= 1e6 && !Number.isInteger(value)))) {
    const [mantissa, exponent] = value.toExponential(5).split("e");
    return `${Number(mantissa)}e${Number(exponent)}`;
  }
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
}

/** Three significant figures: 0.123, 12.3, 1,230, 1.23e-4; with `zeros`, also 12.0. */
export function figures(value, zeros = false) {
  if (!Number.isFinite(value)) return String(value);
  const rounded = Number(value.toPrecision(3));
  if (rounded !== 0 && (Math.abs(rounded) < 0.01 || Math.abs(rounded) >= 1e6)) {
    const [mantissa, exponent] = rounded.toExponential(2).split("e");
    return `${Number(mantissa)}e${Number(exponent)}`;
  }
  if (Math.abs(rounded) >= 1000) return rounded.toLocaleString("en-US");
  return zeros && rounded !== 0 ? value.toPrecision(3) : String(rounded);
}

/** The value of a tick: three significant figures, more where ticks `step` apart would look the same. */
export function tickText(value, step) {
  const digits = step > 0 && value !== 0 ? Math.ceil(Math.log10(Math.abs(value) / step)) + 1 : 0;
  if (digits <= 3) return figures(value);
  const rounded = Number(value.toPrecision(Math.min(12, digits)));
  return Math.abs(value) < 0.01 ? number(rounded) : String(rounded);
}

/** A tick of an axis of shares, in percent; `splits` are all ticks, and decide the decimals. */
export function percentTick(value, splits) {
  const step = splits.length > 1 ? Number((100 * (splits[1] - splits[0])).toPrecision(3)) : 1;
  if (!(step > 0)) return figures(100 * value); // on a logarithmic axis
  return percent(value, Math.min(3, (String(step).split(".")[1] ?? "").length));
}

export function count(value) {
  return value === null || value === undefined ? "" : Math.round(value).toLocaleString("en-US");
}

/** Accuracies in percent, whole numbers with all digits, others with three. Empty if there is none. */
export function metric(name, value) {
  if (typeof value !== "number") return "";
  if (ACCURACY.test(name.split("/").at(-1))) return `${percent(value)}%`;
  return Number.isInteger(value) && Math.abs(value) < 1e15 ? count(value) : number(Number(value.toPrecision(3)));
}

export function percent(fraction, digits = 1) {
  return fraction === null || fraction === undefined ? "" : (100 * fraction).toFixed(digits);
}

/** 93% · 4.2% · <0.1% */
export function share(probability, digits = probability >= 0.1 ? 0 : 1) {
  if (probability > 0 && probability < 0.0005) return "<0.1%";
  return `${percent(probability, digits)}%`;
}

/** The bounds of the 95% Wilson interval of a fraction of `trials`, in percent: (68.6–70.4). Empty if unknown. */
export function interval(fraction, trials) {
  if (fraction === null || fraction === undefined || !trials) return "";
  const z2 = Z95 * Z95;
  const center = (fraction + z2 / (2 * trials)) / (1 + z2 / trials);
  const root = Math.sqrt((fraction * (1 - fraction)) / trials + z2 / (4 * trials * trials));
  const half = (Z95 * root) / (1 + z2 / trials);
  return `(${percent(Math.max(0, center - half))}–${percent(Math.min(1, center + half))})`;
}

export function bytes(octets) {
  let value = octets;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000) return `${unit === "B" || value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} TB`;
}

export function setting(value) {
  if (value === null) return "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.join(", ") || "none";
  return typeof value === "number" ? number(value) : String(value);
}

/** A time of today as 22:41; a time of another day with its date. */
export function clock(date, now = new Date()) {
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return date.toDateString() === now.toDateString() ? time : `${day(date)}, ${time}`;
}

export function clockSeconds(date) {
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** 63% · 71.4 · name */
export function tabTitle({ status, progress, best_acc: best, name }) {
  const moving = ["starting", "running", "stopping"].includes(status);
  return [moving ? `${percent(progress, 0)}%` : "", percent(best), name].filter(Boolean).join(" · ");
}

function day(date) {
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

function two(value) {
  return String(value).padStart(2, "0");
}
