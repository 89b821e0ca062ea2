// Tables of an audit's page that neither sort nor open.
import { esc } from "./words.js";

/**
 * A table as markup, in a region that scrolls by itself where there is little room.
 *
 * `columns` have a name and, for numbers, the class "n". `rows` are rows of cells, as markup; the first cell is the head of its
 * row. A row may have a class as its `kind`, and so may the table: in a "stacked" one, the cells of a row are one below the other
 * on narrow screens, each with the name of its column.
 */
export function plainTable(label, columns, rows, { caption = "", kind: tableKind = "" } = {}) {
  const heads = columns.map(([name, kind = ""]) => `<th scope="col" class="${kind}">${name}</th>`);
  const lines = rows.map(({ kind = "", cells: [head, ...cells] }) =>
    `<tr class="${kind}"><th scope="row">${head}</th>${cells.map((cell, k) => cellMarkup(columns[k + 1], cell)).join("")}</tr>`);
  return `<div class="wide" tabindex="0" role="region" aria-label="${esc(label)}"><table class="plain ${tableKind}">` +
    `${caption && `<caption>${esc(caption)}</caption>`}<thead><tr>${heads.join("")}</tr></thead><tbody>${lines.join("")}</tbody></table></div>`;
}

function cellMarkup([name, kind = ""], cell) {
  return `<td class="${kind}" data-name="${name}">${cell}</td>`;
}
