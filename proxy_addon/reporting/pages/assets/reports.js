// An estimate of what reports will count for the session, and which parts of the content were played.
import { clock, count, cut, esc, lasted, plural } from "./words.js";

const CLOSED = {
  session_end: "sessionEnd closed the session.",
  session_complete: "sessionComplete closed the session.",
  timeout_idle: "The back end closed the session after 10 minutes of silence.",
  timeout_playhead: "The back end closed the session after 30 minutes without playhead movement.",
  batch_end: "The session closed with the last event of the batch.",
};

/** Fill a section. */
export function reportsMarkup(facts) {
  const { value } = facts, { metrics } = value;
  const closed = value.closed_by === null ? openWords(facts) : CLOSED[value.closed_by];
  const late = value.late.length ? ` ${plural(value.late.length, "event")} came late.` : "";
  const dropped = value.dropped.length ? ` ${plural(value.dropped.length, "event was", "events were")} dropped.` : "";
  const groups = Map.groupBy(metrics, (row) => row.group);
  if (!facts.taken) return '<div class="sech"><h2>What reports will count</h2><p>Nothing, because the server took no event.</p></div>';
  return '<div class="sech"><h2>What reports will count</h2>' +
    `<p>An estimate. ${closed}${late}${dropped} Media starts and ad starts are reported at once, all other values when the session closes. ` +
    "Adobe's documentation says little about values with a tilde.</p></div>" + playedMarkup(facts) +
    `<div class="mgrid">${[...groups].map(groupOf).join("")}${statesMarkup(value.player_states)}</div>`;
}

function openWords({ value: { session, verdict } }) {
  if (session.state === "failed") return "The player got no session.";
  return verdict.expires_at === null
    ? "Nothing closed the session: these are the values up to its last event."
    : "The session is still open: these are the values so far.";
}

function groupOf([name, rows]) {
  return `<div><h3>${esc(name)}</h3>${rows.map(rowMarkup).join("")}</div>`;
}

function said(value, form) {
  if (form === "s") return lasted(value);
  return typeof value === "number" ? count(value) : esc(cut(value, 60));
}

function rowMarkup({ id, name, form, value, missing, is_unsure: isUnsure, doubts }) {
  const told = value === null || value === undefined ? `<i>${esc(missing)}</i>` : `${isUnsure ? "~ " : ""}${said(value, form)}`;
  const others = doubts.map(([why, other]) => `<span class="q">${other === null ? "undefined" : said(other, form)} ${esc(why)}</span>`);
  return `<div class="mrow${value ? "" : " zero"}" title="${esc(id)}"><span>${esc(name)}</span><b>${told}</b>${others.join("")}</div>`;
}

function statesMarkup(states) {
  const rows = Object.entries(states).map(([name, { count: times, time_s: time }]) =>
    `<div class="mrow"><span><bdi>${esc(cut(name, 60))}</bdi>${times > 1 ? ` <i>${times} times</i>` : ""}</span><b>${lasted(time)}</b></div>`);
  return rows.length ? `<div><h3>Player states</h3>${rows.join("")}</div>` : "";
}

// Markers mean something only for content with a length.
function playedMarkup(facts) {
  const { value } = facts, length = value.media_length_s;
  if (value.live || !length || length <= 0) return "";
  const parts = value.played.map(([from, to]) => rect("content", from / length, (to - from) / length));
  const breaks = breakPlayheads(facts).map((at) => rect("ad", Math.min(at / length, 0.996), 0.004));
  const markers = Object.entries(value.progress).filter(([, passed]) => passed !== null).map(([percent, passed]) =>
    `<span class="at${Number(percent)}${passed ? "" : " no"}">${passed ? "✓" : "✗"} ${Number(percent)} %</span>`);
  return '<p class="dim small">Which parts of the content were played, where ad breaks were, and the progress markers</p>' +
    '<div class="watch"><svg viewBox="0 0 100 18" preserveAspectRatio="none" role="img" ' +
    `aria-label="Parts of the content that were played, of ${clock(length)}">${parts.join("")}${breaks.join("")}</svg></div>` +
    `<div class="markers">${markers.join("")}</div>`;
}

function rect(kind, from, width) {
  const percent = (part) => (Math.min(part, 1) * 100).toFixed(3); // devices can send any length
  return `<rect class="c-${kind}" x="${percent(Math.max(0, from))}" y="0" width="${percent(Math.max(width, 0.0005))}" height="18"/>`;
}

function breakPlayheads({ E, numbers, value }) {
  return value.spans.breaks.map(({ n }) => E.p[numbers.get(n)]).filter((playhead) => playhead != null);
}
