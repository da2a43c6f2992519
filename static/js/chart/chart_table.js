// The table behind a chart: its newest values.
const TABLE_ROWS = 200;

/**
 * @param {HTMLElement} figure
 * @param {string[]} names the heads of the columns
 * @param {number} count how many rows there are, by increasing x
 * @param {function(number): string[]} textsAt the cells of a row
 */
export function fillTable(figure, names, count, textsAt) {
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const name of names) head.append(Object.assign(document.createElement("th"), { textContent: name, scope: "col" }));
  const body = table.createTBody();
  for (let index = count - 1; index >= Math.max(0, count - TABLE_ROWS); index -= 1) {
    const row = body.insertRow();
    for (const text of textsAt(index)) row.insertCell().textContent = text;
  }
  figure.querySelector("[data-table-box]").replaceChildren(table);
}
