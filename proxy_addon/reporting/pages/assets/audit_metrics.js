// What reports will count, summed, and per session.
import { plainTable } from "./audit_table.js";
import { figure, percent } from "./audit_words.js";
import { count, esc, lasted, plural } from "./words.js";

const COLUMNS = [["Metric"], ["Sum", "n"], ["Mean", "n"], ["Sessions", "n"]];
const TINY = 1e-9; // a share that was rounded to nothing

/** Show the metrics in an empty element; `show()` draws those of the group that is chosen. */
export function mountMetrics(root, context) {
  const { metrics: headings, losses } = context.page;
  root.innerHTML =
    '<div class="sech"><h2>Metrics</h2><p>An estimate of what reports will count: the sum, the mean, and how many sessions have a value.</p></div>' +
    '<div class="gap"></div><div class="gap"></div><div class="sums"></div>';
  const [, gap, left, sums] = root.children;

  function draw() {
    const { group } = context.chosen, values = new Map(group.metrics.map((each) => [each.metric, each]));
    const named = Object.entries(headings).map(([heading, names]) => [heading, Object.entries(names).filter(([id]) => values.has(id))]);
    gap.innerHTML = group.losses.filter((each) => each.time_s).map((each) => gapMarkup(each, losses[each.loss])).join("");
    if (!group.sessions) sums.innerHTML = '<p class="none">Nothing was counted.</p>';
    else sums.innerHTML = named.filter(([, names]) => names.length).map(([heading, names]) =>
      plainTable(heading, COLUMNS, names.map(([id, name]) => rowOf(name, values.get(id))), { caption: heading })).join("");
    const without = Math.max(...group.metrics.map((each) => each.left_out));
    left.innerHTML = without ? `<p class="dim">Without ${plural(without, "session")} of which requests or bodies are not known, ` +
      "or nobody saw whether upstream took the start.</p>" : "";
  }

  return { show: draw };
}

// Why reports show less than was played.
function gapMarkup({ loss, time_s: seconds, time_share: share, sessions }, words) {
  return `<p><b>${percent(share || TINY)}</b> of content time, ${lasted(seconds)}, is missing in reports because of ` +
    `${plural(sessions, "session")}: <code>${esc(loss)}</code>, ${esc(words)}.</p>`;
}

function rowOf(name, { metric, total, sessions, per_session: each }) {
  const said = (value) => (value === null ? "" : metric.endsWith("_s") ? lasted(value) : figure(value, 2));
  return { kind: total ? "" : "zero", cells: [esc(name), sessions ? said(total) : "", said(each), count(sessions)] };
}
