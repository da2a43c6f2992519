// The devices' charts, which each new sample is added to, and the workers.
import { palette } from "../chart/palette.js";
import { follow } from "../shared/live.js";
import { localizeTimes } from "../shared/page.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";
import { Device } from "./device.js";
import { TimeView } from "./time_view.js";

const WORKERS_MS = 5000;
const MEANS_MS = { day: 60_000, week: 600_000 }; // between fetches of the means of minutes
const box = document.querySelector("[data-devices]");
const workers = document.querySelector("[data-workers]");
const reset = document.querySelector("[data-back-to-live]");
const { span } = box.dataset;
const devices = new Map();
const view = new TimeView(span, changed);
let frame = 0;

reset.addEventListener("click", () => view.resetZoom());
addEventListener("themechange", () => {
  view.colors = palette();
  for (const { charts } of devices.values()) for (const chart of charts) chart.build();
  draw();
});
changed();
follow({ kinds: ["device", "resync"], after: Number(box.dataset.seq), on: { device: sampled, resync: load } });
if (span in MEANS_MS) setInterval(() => document.hidden || load(), MEANS_MS[span]);
setInterval(() => document.hidden || showWorkers(), WORKERS_MS);
await load();

function keyOf({ host, device }) {
  return `${device} ${host}`;
}

async function load() {
  const { ok, body } = await request(`${root}/api/system?span=${span}`, { quiet: true });
  if (!ok) return;
  const described = new Map(body.workers.map((worker) => [keyOf(worker), worker.description]));
  for (const samples of body.devices) {
    const key = keyOf(samples);
    if (!devices.has(key)) {
      const device = new Device(samples, described.get(key), view, span === "hour" ? 2 : 60);
      devices.set(key, device);
      box.append(device.section);
      device.build();
    }
    devices.get(key).fill(samples);
  }
  draw();
}

/** A sample is news of a chart only if the chart shows single samples. */
function sampled(sample) {
  const device = devices.get(keyOf(sample));
  if (!device) load();
  else if (span === "hour") {
    device.add(sample);
    frame ||= requestAnimationFrame(draw);
  }
}

function changed() {
  reset.hidden = !view.isZoomed;
  if (devices.size) draw();
}

function draw() {
  frame = 0;
  const all = [...devices.values()];
  view.reach(Math.min(...all.map((device) => device.first)), Math.max(...all.map((device) => device.last)));
  for (const device of all) device.draw(view.whole()[0]);
}

async function showWorkers() {
  const { ok, body } = await request(`${root}/system/workers`, { as: "text", quiet: true });
  if (!ok || workers.contains(document.activeElement)) return;
  const template = document.createElement("template");
  template.innerHTML = body;
  localizeTimes(template.content);
  workers.replaceChildren(...template.content.children);
}
