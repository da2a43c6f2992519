// The values at the pointer, beside it. Only the chart under the pointer, or with the keyboard's cursor, shows them.
const DISTANCE = 14;

export class Tooltip {
  constructor(chart) {
    this.chart = chart;
    this.isActive = false;
    this.box = document.createElement("div");
    this.box.className = "chart-tip";
    this.box.hidden = true;
    this.box.setAttribute("role", "status");
    chart.plotBox.append(this.box);
  }

  /** Follows the pointer over a newly built plot. */
  follow(uplot) {
    uplot.over.addEventListener("mouseenter", () => this.activate(true));
    uplot.over.addEventListener("mouseleave", () => this.activate(false));
  }

  activate(on) {
    this.isActive = on;
    this.chart.figure.toggleAttribute("data-pointed", on);
    if (!on) this.box.hidden = true;
  }

  show(at) {
    const { uplot } = this.chart;
    this.box.hidden = !this.isActive || at === null || uplot.cursor.left < 0;
    if (this.box.hidden) return;
    const list = document.createElement("dl");
    for (const [name, text] of this.chart.tooltipRows(at)) {
      list.append(Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: text }));
    }
    this.box.replaceChildren(list);
    this.place(uplot);
  }

  /** Beside the pointer, on the side that has room. */
  place({ over, cursor }) {
    const { offsetWidth: width, offsetHeight: height } = this.box;
    const x = over.offsetLeft + cursor.left;
    const y = over.offsetTop + cursor.top;
    const right = x + DISTANCE + width <= this.chart.plotBox.clientWidth;
    this.box.style.left = `${Math.max(0, right ? x + DISTANCE : x - DISTANCE - width)}px`;
    this.box.style.top = `${Math.max(0, Math.min(y + DISTANCE, this.chart.plotBox.clientHeight - height))}px`;
  }
}
