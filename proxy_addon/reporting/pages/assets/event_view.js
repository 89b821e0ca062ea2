// The chosen event: when it happened, its playhead, the state after it, its request and the answer.
import { bodyMarkup } from "./body.js";
import { statusPill } from "./card.js";
import { stateWords, wrongClock } from "./facts.js";
import { SEVERITIES, icon } from "./icons.js";
import { clock, count, cut, esc, ms, prose, signed } from "./words.js";

const LATE_S = 0.5;

/** The event as markup. `traffic` is null while it is being read. */
export function eventMarkup(facts, i, traffic) {
  const { E, value } = facts;
  const found = E.f[i].map((index) => ({ ...value.findings[index], message: facts.message(index, i) }))
    .sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
  const whole = found.filter((finding) => finding.below == null && pointerAt(finding, E.n[i]) == null);
  return `<div class="ev"><h3><bdi>${esc(cut(facts.type(i), 120))}</bdi> ${statusPill(facts, i)} <span class="dim small">${ms(E.d[i])}</span></h3>` +
    '<div class="nav"><button type="button" data-step="-1" title="Previous event (k)">‹ previous</button>' +
    '<button type="button" data-step="1" title="Next event (j)">next ›</button>' +
    '<button type="button" data-close title="Back to the findings (Esc)">Close</button></div>' +
    whole.map(wholeMarkup).join("") +
    `<dl>${times(facts, i, traffic?.rows[E.q[i]])}</dl>` +
    (traffic ? exchangeMarkup(facts, i, traffic, found) : '<p class="dim reading">Reading the request …</p>') + "</div>";
}

function wholeMarkup({ severity, message }) {
  return `<div class="fi s-${severity}"><div class="h">${icon(severity)}<div class="m">${prose(message)}</div></div></div>`;
}

// Where in an event a finding is: a pointer relative to the event, or null if it is about the whole event.
function pointerAt(finding, number) {
  return finding.pointers[finding.places.indexOf(number)] || null;
}

function times(facts, i, row) {
  const { E } = facts, before = facts.order.events[facts.position[i] - 1], late = E.a[i] - E.t[i];
  const rows = [];
  const since = before === undefined ? "" : ` <span class="dim">${(E.t[i] - E.t[before]).toFixed(3)} s after #${E.n[before]}</span>`;
  const wrong = wrongClock(facts, i);
  rows.push(["Device time", wrong ? `<b class="odd">unknown: ${wrong}</b>, so the event is drawn where it arrived` : clock(E.t[i], 3) + since]);
  const arrived = row ? `${esc(row[5].slice(11, 23))} UTC ` : "";
  rows.push(["Arrived", arrived + latenessMarkup(late, facts.value.batch)]);
  if (E.p[i] != null) {
    const moved = before === undefined || E.p[before] == null ? "" : ` <span class="dim">${signed(E.p[i] - E.p[before], 3)} s</span>`;
    rows.push(["Playhead", clock(E.p[i], 3) + moved]);
  } else rows.push(["Playhead", "none"]);
  rows.push(["State after", esc(stateWords(E.st[i]))]);
  const lateness = facts.late.has(E.n[i]) ? ", late" : "";
  rows.push(["Taken as", E.r[i] < 0 ? "not counted" : `number ${count(E.r[i] + 1)} of ${count(facts.taken)}${lateness}`]);
  if (facts.why(i)) rows.push(["In reports", `<span class="odd">${esc(facts.why(i))}</span>`]);
  if (E.e[i]) rows.push(["In the batch", `event ${count(E.e[i])} of ${count(facts.size)}`]);
  if (row?.[6]) rows.push(["Reason", esc(row[6])]);
  return rows.map(([name, told]) => `<dt>${name}</dt><dd>${told}</dd>`).join("");
}

// All of a batch arrives at once, long after it happened.
function latenessMarkup(late, isBatch) {
  if (isBatch) return '<span class="dim">with the batch</span>';
  if (Math.abs(late) <= LATE_S) return '<span class="dim">at once</span>';
  return `<b class="odd">${Math.abs(late).toFixed(1)} s ${late < 0 ? "before" : "after"} it happened</b>`;
}

function exchangeMarkup(facts, i, traffic, found) {
  const { E } = facts, row = traffic.rows[E.q[i]];
  if (!row) return '<p class="dim">This page does not have the request.</p>';
  const [method, path, , headers, body, , , answer] = row;
  const noAnswer = E.o[i] === "upstream-closed" ? "No answer is in the recording." : `No answer: ${esc(E.o[i])}.`;
  const notes = found.map((finding) => ({ ...finding, pointer: pointerAt(finding, E.n[i]) })).filter(({ pointer }) => pointer != null);
  return `<div class="dim mono path">${esc(method)} ${esc(shortPath(path))}</div>` +
    bodyMarkup(body, { label: "Body of the request", element: E.e[i] ? E.e[i] - 1 : null, notes }) +
    `<details data-fold="request"><summary>Headers of the request</summary>${headersMarkup(traffic, headers)}</details>` +
    (answer ? answerMarkup(traffic, answer, facts.isRefused(i)) : `<p class="dim">${noAnswer}</p>`);
}

function answerMarkup(traffic, [status, version, headers, body], isRefused) {
  return `<details data-fold="answer"${isRefused ? " open" : ""}><summary>Answer: ${status} ${esc(version)}</summary>` +
    headersMarkup(traffic, headers) + bodyMarkup(body, { label: "Body of the answer" }) + "</details>";
}

function headersMarkup(traffic, [set, more]) {
  const pairs = [...traffic.headers[set], ...more];
  if (!pairs.length) return "";
  return `<div class="hd">${pairs.map(([name, value]) => `<div><span class="name">${esc(name)}:</span> ${esc(value)}</div>`).join("")}</div>`;
}

// The session ID is long, and the top of the page shows it anyway.
function shortPath(path) {
  return cut(path.replace(/(sessions\/.{8})[^/?]{20,}/, "$1…"), 400);
}
