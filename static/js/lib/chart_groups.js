// Which charts a run's series make.

/** The charts at the top of the page: id, title, and the series that they show. */
export const STANDARD = {
  loss: { title: "Loss", train: "train/loss", val: "val/loss" },
  accuracy: { title: "Accuracy", train: "train/acc", val: "val/acc" },
  lr: { title: "Learning rate", train: "lr" },
  throughput: { title: "Images per second", train: "throughput" },
  gradient: { title: "Gradient norm", train: "grad/norm" },
  update: { title: "Update to weight ratio", train: "update/ratio" },
};

/**
 * The charts of all other series, by prefix: [{prefix, charts: [{id, title, train, val?}]}]. A series of training and
 * the one of validation with the same name share a chart. `standardCharts` are the charts at the top: a script run has none.
 */
export function groups(names, standardCharts = STANDARD) {
  const standard = new Set(Object.values(standardCharts).flatMap(({ train, val }) => [train, val]));
  const others = names.filter((name) => !standard.has(name)).sort();
  const found = new Map();
  for (const name of others) {
    const [prefix, rest] = name.includes("/") ? [name.slice(0, name.indexOf("/")), name.slice(name.indexOf("/") + 1)] : ["other", name];
    const chart = { id: name, title: name, train: name };
    if (prefix === "val" && others.includes(`train/${rest}`)) continue;
    if (prefix === "train" && others.includes(`val/${rest}`)) Object.assign(chart, { title: rest, val: `val/${rest}` });
    if (!found.has(prefix)) found.set(prefix, { prefix, charts: [] });
    found.get(prefix).charts.push(chart);
  }
  return [...found.values()];
}

const FIRST = ["train", "val", "valid", "eval", "test", "other"];

/** The groups of a script run: the usual names of losses first, and what its client measures of the machine last. */
export function scriptGroups(names) {
  const place = ({ prefix }) => (prefix === "system" ? FIRST.length + 1 : FIRST.includes(prefix) ? FIRST.indexOf(prefix) : FIRST.length);
  return groups(names, {}).sort((a, b) => place(a) - place(b));
}

/** `ids` as they are shown: pinned ones first, then as `order` says, the rest as they were. */
export function arranged(ids, { pin, order }) {
  const place = (id) => (pin.includes(id) ? pin.indexOf(id) - pin.length : order.includes(id) ? order.indexOf(id) : order.length + ids.indexOf(id));
  return [...ids].sort((a, b) => place(a) - place(b));
}
