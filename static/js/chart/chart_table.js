// The table behind a chart: its newest values.
const TABLE_ROWS = 200;

export function fillTable({ figure, kind, view, steps, uplot }) {
  const [, raw, smoothed, val] = uplot.data;
  const hasAverage = smoothed.some((value) => typeof value === "number");
  const columns = [[kind.val ? "train" : "value", raw], ...(hasAverage ? [["smoothed", smoothed]] : []), ...(kind.val ? [["validation", val]] : [])];
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const name of ["step", ...view.columnNames(), ...columns.map(([title]) => title)]) {
    head.append(Object.assign(document.createElement("th"), { textContent: name, scope: "col" }));
  }
  const body = table.createTBody();
  const first = Math.max(0, steps.length - TABLE_ROWS);
  for (let index = steps.length - 1; index >= first; index -= 1) {
    const row = body.insertRow();
    const values = columns.map(([, column]) => (typeof column[index] === "number" ? kind.exact(column[index]) : ""));
    for (const text of [String(steps[index]), ...view.columnTexts(steps[index]), ...values]) row.insertCell().textContent = text;
  }
  figure.querySelector("[data-table-box]").replaceChildren(table);
}
