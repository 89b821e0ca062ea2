// What reports will count for two sessions, where the values differ.
import { count, esc, lasted } from "./words.js";

/** A section as markup: the values that differ, and how many are the same. */
export function differingMetrics(value, names) {
  const [ours, theirs] = value.sides.map(({ page }) => new Map(page.metrics.map((row) => [row.id, row])));
  const differing = [...ours.values()].filter((row) => theirs.has(row.id) && row.value !== theirs.get(row.id).value);
  const same = ours.size - differing.length;
  if (!ours.size) return "";
  const body = differing.map((row) =>
    `<tr><th scope="row">${esc(row.name)}</th><td class="n">${shownMetric(row)}</td><td class="n odd">${shownMetric(theirs.get(row.id))}</td></tr>`);
  const head = names.map((name) => `<th scope="col" class="n">${esc(name)}</th>`);
  return (
    `<section class="doc counted"><h2>What reports will count</h2>` +
    `<p class="dim small">An estimate. ${same} of ${ours.size} values are the same.</p>` +
    (body.length ? `<table><thead><tr><th scope="col"></th>${head.join("")}</tr></thead><tbody>${body.join("")}</tbody></table>` : "") +
    "</section>"
  );
}

function shownMetric(row) {
  if (row.value == null) return `<span class="dim">${esc(row.missing)}</span>`;
  const shown = row.form === "s" ? lasted(row.value) : typeof row.value === "number" ? count(row.value) : esc(row.value);
  return `${row.is_unsure ? "~ " : ""}${shown}`;
}
