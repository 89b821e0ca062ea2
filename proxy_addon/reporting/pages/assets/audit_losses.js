// What gets lost between devices and reports: a funnel, and a list of all ways.
import { plainTable } from "./audit_table.js";
import { leftOutMarkup, partOf, percent, sessionLinks } from "./audit_words.js";
import { count, esc, lasted, plural } from "./words.js";

const STEPS = [["sent", "by devices"], ["answered", "by upstream"], ["accepted", "with 2xx"], ["counted", "by reports"]];
const COLUMNS = [
  ["Loss"], ["What is lost", "what"], ["Sessions", "n"], ["Times", "n"], ["Content time lost", "n"], ["Sessions to look at", "look-at"],
];
const WIDTH = 1000, HEIGHT = 26;
const TINY = 1e-9; // a share that was rounded to nothing

/** Show the losses in an empty element; `show()` draws those of the group that is chosen. */
export function mountLosses(root, context) {
  root.innerHTML =
    '<div class="sech"><h2>Losses</h2><p>What devices sent and reports do not count. Percentages of the bars are of the events sent; ' +
    'upstream is the server that they were sent to.</p></div>' +
    '<div class="funnel"></div><div class="box"></div>';
  const [, funnel, box] = root.children;

  function draw() {
    const { group } = context.chosen, rows = group.losses.filter((each) => each.sessions).map((each) => rowOf(each, group));
    funnel.innerHTML = group.funnel.sent ? funnelMarkup(group.funnel) : "";
    const unsure = group.losses.filter((each) => each.left_out).map(({ loss }) => `<code>${esc(loss)}</code>`).join(", ");
    box.innerHTML = (rows.length ? plainTable("Table of losses", COLUMNS, rows, { kind: "stacked" }) : '<p class="none">Nothing is lost.</p>') +
      `<div class="gap">${leftOutMarkup(group.with_holes, unsure)}</div>`;
  }

  function rowOf({ loss, sessions, left_out: without, times, time_s: seconds, time_share: share, look_at: ids }, group) {
    const time = seconds === null ? "" : `${lasted(seconds)} <span class="dim">(${percent(share || TINY)} of all)</span>`;
    const links = sessionLinks(ids, context);
    const what = esc(context.page.losses[loss] ?? "");
    return { cells: [`<code>${esc(loss)}</code>`, what, partOf(sessions, group.sessions - without), count(times), time, links] };
  }

  return { show: draw };
}

// Bars that grow shorter, each with its number as text beside.
function funnelMarkup(funnel) {
  const bar = (kind, width) => `<rect class="${kind}" width="${width}" height="${HEIGHT}"/>`;
  const steps = STEPS.map(([name, how], k) => {
    const value = funnel[name], share = funnel.sent ? value / funnel.sent : 0, isLess = k && value < funnel[STEPS[k - 1][0]];
    return `<li><span class="what"><b>${name}</b> <span class="dim">${how}</span></span>` +
      `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true">` +
      `${bar("all", WIDTH)}${bar("is", +(share * WIDTH).toFixed(1))}</svg>` +
      `<span class="n"><b>${count(value)}</b> <span class="dim">${percent(share)}</span></span>` +
      `<span class="${isLess ? "bad" : "dim"}">${differenceWords(name, funnel)}</span></li>`;
  });
  return `<ol>${steps.join("")}</ol>`;
}

// What makes the difference to the step before.
function differenceWords(name, { answered, accepted, may_have_arrived: unseen, not_arrived: gone, dropped }) {
  const told = {
    answered: [[unseen, "no answer was seen"], [gone, "not arrived"]],
    accepted: [[answered - accepted, "refused"]],
    counted: [[-unseen, "no answer was seen, but they may have arrived"], [dropped, "arrived, but not counted"]],
  }[name] || [];
  return told.filter(([number]) => number).map(([number, why]) =>
    `${plural(Math.abs(number), "event")} ${number < 0 ? "more" : "fewer"}: ${why}`).join("; ");
}
