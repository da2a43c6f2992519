// What is chosen on the Curves tab, as it is kept in the address and in the browser.
import { AXES } from "./axis.js";

const LISTS = ["log", "whole", "hide", "pin", "order", "open", "shut"];
export const MOST_SMOOTHING = 0.99;
const LARGE = 1e8; // only times are
const NAMES = ["x", "smooth", "zoom", "y", ...LISTS];

/** `x` null: chosen by the run's length. `zoom` is in units of x; `y` has a range per chart. Lists hold ids of charts. */
export function defaults() {
  return { x: null, smooth: 0.9, zoom: null, y: {}, ...Object.fromEntries(LISTS.map((name) => [name, []])) };
}

/** The state of an address. Without a word about it there, what the browser kept; never its zoom. */
export function fromAddress(search, kept) {
  const query = new URLSearchParams(search);
  if (!NAMES.some((name) => query.has(name))) return { ...valid(kept), zoom: null, y: {} };
  const old = range((query.get("x") ?? "").replace("-", "..")); // the zoom of earlier versions
  return valid({
    x: old ? null : query.get("x"),
    smooth: query.has("smooth") ? Number(query.get("smooth")) : undefined,
    zoom: old ?? range(query.get("zoom")),
    y: Object.fromEntries((query.get("y") ?? "").split(",").map((part) => part.split("~")).filter((pair) => pair.length === 2).map(([id, text]) => [id, range(text)])),
    ...Object.fromEntries(LISTS.map((name) => [name, (query.get(name) ?? "").split(",").filter(Boolean)])),
  });
}

/** Writes the state into `address` (a URL): only what is not the default. */
export function intoAddress(address, state) {
  const usual = defaults();
  const texts = {
    x: state.x ?? "",
    smooth: state.smooth === usual.smooth ? "" : String(state.smooth),
    zoom: state.zoom ? written(state.zoom) : "",
    y: Object.entries(state.y).map(([id, ends]) => `${id}~${written(ends)}`).join(","),
    ...Object.fromEntries(LISTS.map((name) => [name, state[name].join(",")])),
  };
  for (const [name, text] of Object.entries(texts)) {
    if (text) address.searchParams.set(name, text);
    else address.searchParams.delete(name);
  }
  return address;
}

function valid(given) {
  const state = defaults();
  if (given === null || typeof given !== "object") return state;
  if (given.x in AXES) state.x = given.x;
  if (given.smooth >= 0 && given.smooth <= MOST_SMOOTHING) state.smooth = given.smooth;
  if (given.zoom) state.zoom = given.zoom;
  for (const [id, ends] of Object.entries(given.y ?? {})) if (ends) state.y[id] = ends;
  for (const name of LISTS) if (Array.isArray(given[name])) state[name] = [...new Set(given[name].filter((id) => typeof id === "string"))];
  return state;
}

function range(text) {
  const parts = (text ?? "").split("..").map((part) => (part === "" ? NaN : Number(part)));
  return parts.length === 2 && parts.every(Number.isFinite) && parts[0] < parts[1] ? parts : null;
}

function written(ends) {
  return ends.map((value) => Number(value > LARGE ? value.toFixed(1) : value.toPrecision(9))).join("..");
}
