// Sessions that are not as expected, above the list of a report.
import { icon } from "./icons.js";
import { cut, esc, plural } from "./words.js";

/** How addresses of comparisons begin; the number of the part follows. */
export const COMPARED = "compare-";
const SIGNS = { fail: "error", warn: "warning", pass: "pass" };
const LONGEST_NAME = 80, LONGEST_RECORDING = 200;

/** The comparisons as markup; nothing if there are none. */
export function comparisonList({ comparisons, names_recordings: areNamed }) {
  if (!comparisons.length) return "";
  const rows = comparisons.map(({ names: [expected, actual], recording, verdict, part }) =>
    `<li>${icon(SIGNS[verdict.level], verdict.word)} <a href="#${COMPARED}${part}"><b>${esc(cut(expected, LONGEST_NAME))}</b> and ` +
    `<b class="mono">${esc(cut(actual, LONGEST_NAME))}</b></a> ` +
    `${areNamed && recording ? `<bdi>${esc(cut(recording, LONGEST_RECORDING))}</bdi> ` : ""}<span class="dim">${esc(verdict.headline)}</span></li>`);
  return `<section class="compared"><h2>${plural(comparisons.length, "session")} not as expected</h2><ul>${rows.join("")}</ul></section>`;
}
