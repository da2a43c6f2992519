// Updates the devices' values as they are sampled. The charts are rendered by the server, which stores the samples,
// and fetched at an interval.
import { follow } from "../shared/live.js";
import { localizeTimes } from "../shared/page.js";
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const REDRAW = { hour: 5000, day: 60000, week: 60000 };
const devices = document.querySelector("[data-devices]");

follow({
  kinds: ["device", "resync"],
  after: Number(devices.dataset.seq),
  on: {
    device: show,
    resync: redraw,
  },
});
setInterval(() => document.hidden || redraw(), REDRAW[devices.dataset.span]);

function show({ host, device, utilisation, memory, memory_total: total, temperature }) {
  const node = devices.querySelector(`[data-device="${CSS.escape(device)}"][data-host="${CSS.escape(host)}"]`);
  if (!node) return;
  const put = (name, text) => {
    const place = node.querySelector(`[data-now="${name}"]`);
    if (place) place.textContent = text;
  };
  put("utilisation", `${Math.round(100 * utilisation)}%`);
  put("memory", `${(memory / 2 ** 30).toFixed(1)} of ${(total / 2 ** 30).toFixed(1)} GiB`);
  if (temperature !== null) put("temperature", `${Math.round(temperature)} °C`);
}

async function redraw() {
  const { ok, body } = await request(`${root}/system/devices?span=${devices.dataset.span}`, { as: "text", quiet: true });
  if (!ok) return;
  const template = document.createElement("template");
  template.innerHTML = body;
  localizeTimes(template.content);
  devices.replaceChildren(...template.content.children);
}
