// The controls of the Curves tab: those above the charts, and those of each chart.
import { arranged } from "../lib/chart_groups.js";

const tools = document.querySelector("[data-curve-tools]");
const dialog = document.querySelector("[data-chart-dialog]");

/** `view` is a CurveView; `charts` is a map of Chart by id. */
export function bindTools(view, charts) {
  const axis = tools.querySelector("[data-x-axis]");
  const slider = tools.querySelector("[data-smoothing]");
  axis.value = view.axis;
  slider.value = view.state.smooth;
  axis.addEventListener("change", () => view.setAxis(axis.value));
  slider.addEventListener("input", () => view.set({ smooth: Number(slider.value) }));
  tools.querySelector("[data-back-to-live]").addEventListener("click", () => view.resetZoom());
  tools.querySelector("[data-hidden-menu]").addEventListener("click", (event) => {
    const id = event.target.closest("[data-show]")?.dataset.show;
    if (id) view.toggle("hide", id);
  });
  dialog.addEventListener("close", () => closeFullscreen());
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  showTools(view, charts);
}

/** Shows the state of the view in the controls, and the charts where they belong. */
export function showTools(view, charts) {
  const { state } = view;
  const axis = tools.querySelector("[data-x-axis]");
  if (document.activeElement !== axis) axis.value = view.axis;
  tools.querySelector("[data-smoothing-value]").textContent = state.smooth === 0 ? "off" : String(state.smooth);
  tools.querySelector("[data-back-to-live]").hidden = !view.isZoomed;
  const hidden = [...charts.values()].filter((chart) => state.hide.includes(chart.id));
  const menu = tools.querySelector("[data-hidden-menu]");
  menu.hidden = hidden.length === 0;
  menu.querySelector("summary").textContent = `${hidden.length} hidden`;
  menu.querySelector(".menu-items").replaceChildren(
    ...hidden.map(({ id, title }) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: `Show ${title}` });
      button.dataset.show = id;
      return button;
    }),
  );
  for (const chart of charts.values()) showChart(chart, state);
  arrange(charts, state);
}

function showChart({ figure, id }, state) {
  figure.hidden = state.hide.includes(id);
  for (const list of ["log", "whole", "pin"]) figure.querySelector(`[data-toggle="${list}"]`)?.setAttribute("aria-pressed", state[list].includes(id));
}

/** Orders the charts of each part of the page; pinned ones are in the first. */
function arrange(charts, state) {
  const first = document.querySelector("[data-curves]");
  const parts = new Map();
  for (const { id, figure, home } of charts.values()) {
    if (dialog.contains(figure)) continue;
    const part = state.pin.includes(id) ? first : home;
    parts.set(part, [...(parts.get(part) ?? []), id]);
  }
  for (const [part, ids] of parts) {
    const wanted = arranged(ids, state).map((id) => charts.get(id).figure);
    if (wanted.some((figure, index) => part.children[index] !== figure)) part.append(...wanted);
  }
}

/** The buttons of one chart. */
export function bindChart(chart, view, charts) {
  const { figure, id } = chart;
  const menu = figure.querySelector("[data-menu]");
  figure.addEventListener("click", (event) => {
    const button = event.target.closest("button, a");
    if (!button) return;
    const { toggle, move, action } = button.dataset;
    if (toggle) view.toggle(toggle, id);
    if (move) moveBy(chart, Number(move), view, charts);
    if (action === "fullscreen") openFullscreen(chart);
    if (!menu.contains(button)) return;
    menu.open = false;
    (figure.hidden ? tools.querySelector("[data-hidden-menu] summary") : menu.querySelector("summary")).focus();
  });
}

function moveBy({ figure, id }, by, view, charts) {
  const ids = [...figure.parentElement.children].filter((node) => !node.hidden).map((node) => node.dataset.chart);
  const at = ids.indexOf(id);
  const to = at + by;
  if (to < 0 || to >= ids.length) return;
  [ids[at], ids[to]] = [ids[to], ids[at]];
  const pin = ids.filter((item) => view.state.pin.includes(item));
  const rest = view.state.order.filter((item) => !ids.includes(item));
  view.set({ order: [...ids, ...rest], pin: [...pin, ...view.state.pin.filter((item) => !pin.includes(item))] });
  charts.get(id).figure.scrollIntoView({ block: "nearest" });
}

/** Moves the chart into a dialog, which keeps the focus and closes by Escape. */
function openFullscreen({ figure }) {
  if (dialog.open) return dialog.close();
  figure.before(Object.assign(document.createElement("div"), { className: "chart-place", hidden: true }));
  dialog.append(figure);
  dialog.showModal();
  return undefined;
}

function closeFullscreen() {
  const figure = dialog.querySelector("figure");
  const place = document.querySelector(".chart-place");
  place.replaceWith(figure);
  figure.querySelector("[data-action=fullscreen]").focus();
}
