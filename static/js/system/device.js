// A device on the System page: a chart for each quantity that is sampled.
import { Chart } from "../chart/chart.js";
import { figures } from "../lib/format.js";
import { Series } from "../lib/series.js";

const GIB = 2 ** 30;
const GAP = 5; // a line has a gap where samples are further apart than this multiple of their distance
const template = document.querySelector("[data-device-template]").content.firstElementChild;

/** How the values of each quantity are shown: utilization is a share of one, memory in GiB. */
const kinds = (device) => ({
  utilisation: { isWhole: true, bounds: { least: 0, most: 1 }, ...alike(rounded("%", 100)) },
  memory: {
    isWhole: true, bounds: { least: 0, get most() { return device.total || 1; } },
    tick: rounded(" GiB"), show: (value) => `${value.toFixed(1)} of ${figures(device.total)} GiB`, exact: (value) => `${value.toFixed(1)} GiB`,
  },
  temperature: { bounds: { least: 0 }, ...alike(rounded(" °C")) },
});

function alike(show) {
  return { tick: show, show, exact: show };
}

/** A whole number in `unit`. */
function rounded(unit, factor = 1) {
  return (value) => `${Math.round(factor * value)}${unit}`;
}

export class Device {
  /** `pace` is the distance of two samples in seconds. */
  constructor({ host, device }, description, view, pace) {
    Object.assign(this, { view, pace, total: 0, section: template.cloneNode(true) });
    this.section.querySelector("h2 b").textContent = device;
    this.section.querySelector("h2 .sub").textContent = [description, host].filter(Boolean).join(" · ");
    this.section.dataset.device = device;
    this.kinds = kinds(this);
  }

  /** Makes the charts. Their plots have a size once the section is on the page. */
  build() {
    const name = this.section.dataset.device;
    this.charts = [...this.section.querySelectorAll("[data-quantity]")].map((figure) => {
      const { quantity } = figure.dataset;
      figure.dataset.chart = `${quantity}@${this.section.querySelector("h2").textContent}`;
      figure.querySelector("[data-plot]").setAttribute("aria-label", `${figure.querySelector("b").textContent} of ${name}`);
      const chart = new Chart(figure, this.kinds[quantity], this.view);
      chart.plotBox.addEventListener("dblclick", () => this.view.isZoomed && this.view.resetZoom());
      return Object.assign(chart, { quantity, series: new Series() });
    });
  }

  /** Replaces all samples by those of the API. */
  fill(samples) {
    for (const chart of this.charts) chart.series = new Series();
    samples.time.forEach((time, index) => {
      const [utilisation, memory, temperature] = [samples.utilisation[index], samples.memory[index], samples.temperature[index]];
      this.add({ time, utilisation, memory, temperature, memory_total: samples.memory_total });
    });
  }

  add(sample) {
    this.total = sample.memory_total / GIB;
    const values = { ...sample, memory: sample.memory / GIB };
    for (const { series, quantity } of this.charts) {
      if (values[quantity] === null) continue;
      const { last } = series;
      if (series.length && sample.time - last > GAP * this.pace) series.append({ step: [last + this.pace], value: [null] });
      series.append({ step: [sample.time], value: [values[quantity]] });
    }
  }

  get first() {
    return this.charts[0].series.step[0] ?? Infinity;
  }

  get last() {
    return this.charts[0].series.last;
  }

  /** Draws the samples from `start` on, and forgets earlier ones. */
  draw(start) {
    for (const chart of this.charts) {
      const { series, figure, kind } = chart;
      const old = series.step.findIndex((time) => time >= start);
      for (const column of [series.step, series.value, series.time]) column.splice(0, old < 0 ? series.length : old);
      figure.hidden = series.length === 0;
      if (figure.hidden) continue;
      chart.update(series);
      figure.querySelector("[data-peak]").textContent = kind.exact(Math.max(...chart.visible(series)));
    }
    this.section.querySelector("[data-nothing]").hidden = this.charts.some(({ series }) => series.length > 0);
  }
}
