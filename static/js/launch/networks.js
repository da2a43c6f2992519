// The field of the network: what is typed is searched among timm's models, and the choice is described.
import { request } from "../shared/request.js";
import { root } from "../shared/root.js";

const PAUSE = 150;
const field = document.querySelector('[name="model.name"]');
const weights = document.querySelector('[name="model.weights"]');
const options = document.getElementById("networks");
const about = document.querySelector("[data-network]");
const ours = [...options.children];
let timer = 0;
let last = 0;

field.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, PAUSE);
});

async function search() {
  const text = field.value.trim();
  const mine = ++last;
  if (!text) {
    options.replaceChildren(...ours);
    about.hidden = true;
    return;
  }
  const answer = await request(`${root}/api/networks?limit=50&q=${encodeURIComponent(text)}`, { quiet: true });
  if (mine !== last || !answer.ok) return;
  const found = answer.body;
  options.replaceChildren(...found.items.map(option));
  const chosen = found.items.find((network) => network.name === text);
  about.hidden = false;
  about.textContent = chosen ? described(chosen) : `${found.total || "No"} network${found.total === 1 ? "" : "s"} found`;
  // A name of weights without weights would be refused.
  if (chosen?.weights && text.startsWith("timm:") && !weights.value) {
    weights.value = "pretrained";
    weights.dispatchEvent(new Event("change", { bubbles: true }));
  }
}

function option(network) {
  const made = document.createElement("option");
  made.value = network.name;
  made.label = network.description;
  return made;
}

function described(network) {
  const parts = [network.description.replace(/\.$/, "")];
  if (network.fixed_size) parts.push(`images of ${network.size} px only`);
  if (network.licence) parts.push(`licence of the weights: ${network.licence}`);
  if (!network.installed) parts.push("needs timm: install Trackside's extra with pip install '.[timm]'");
  return `${parts.join("; ")}.`;
}
