// The findings of a session, the worst first. Many of one rule are folded, and so are notes beside many other findings.
import { icon } from "./icons.js";
import { clock, count, cut, esc, plural, prose } from "./words.js";

const MOST_PLACES = 4, MOST_OF_RULE = 4, SHOWN_OF_RULE = 2, MOST_BESIDE_NOTES = 4, MOST_REASONS = 4;

/** All findings as markup. */
export function findingsMarkup(facts, links) {
  const { value, leading } = facts, uncounted = uncountedMarkup(facts);
  if (!leading.length) {
    const praise = value.verdict.level === "pass" ? " Every request was accepted and follows the rules of the protocol." : "";
    return `<p class="none">No findings.${praise}</p>${uncounted}${unjudged(value)}`;
  }
  const cards = cardsOf(leading), notes = cards.filter(({ finding }) => finding.severity === "info");
  const rest = cards.filter(({ finding }) => finding.severity !== "info");
  const groups = Map.groupBy(rest, ({ finding }) => `${finding.severity} ${finding.rule}`);
  const told = [...groups.values()].map((group) => groupMarkup(facts, group, links)).join("") + uncounted;
  if (!notes.length) return told + unjudged(value);
  const summary = `${plural(foundIn(notes), "note")} – nothing urgent`;
  return `${told}<details class="notes" data-fold="notes"${rest.length > MOST_BESIDE_NOTES ? "" : " open"}><summary>${summary}</summary>` +
    `${notes.map((each) => findingMarkup(facts, each, links)).join("")}</details>${unjudged(value)}`;
}

// A card for each finding; those that say the same word for word share one, with the places of all. A finding with an end keeps
// its own.
function cardsOf(leading) {
  const same = ({ finding, index }) => (finding.places.length && finding.until == null
    ? JSON.stringify([finding.severity, finding.rule, finding.message, finding.lowered_by])
    : index);
  return [...Map.groupBy(leading, same).values()].map((group) => ({
    indices: group.map(({ index }) => index),
    finding: {
      ...group[0].finding,
      places: group.flatMap(({ finding }) => finding.places).sort((a, b) => a - b),
      count: group.reduce((all, { finding }) => all + finding.count, 0),
    },
  }));
}

function foundIn(cards) {
  return cards.reduce((all, { indices }) => all + indices.length, 0);
}

function groupMarkup(facts, group, links) {
  const markup = group.map((each) => findingMarkup(facts, each, links));
  if (group.length <= MOST_OF_RULE) return markup.join("");
  const rule = esc(group[0].finding.rule), more = markup.splice(SHOWN_OF_RULE), number = foundIn(group.slice(SHOWN_OF_RULE));
  return markup.join("") + foldMarkup(`of ${rule}`, `${number} more of ${rule}`, more);
}

function foldMarkup(name, summary, parts) {
  return `<details class="notes" data-fold="${name}"><summary>${summary}</summary>${parts.join("")}</details>`;
}

function findingMarkup(facts, { finding, indices }, links) {
  const below = facts.value.findings.filter((each) => indices.includes(each.below));
  const places = placesMarkup(facts, finding.places, finding.count) || "<span>whole session</span>";
  const hasEnd = finding.until != null && finding.count === 1 && !finding.places.includes(finding.until);
  const until = hasEnd ? `<span>to</span>${placeMarkup(facts, finding.until)}` : "";
  return `<div class="fi s-${finding.severity}"><div class="h">${icon(finding.severity)}<div class="m">${prose(finding.message)}</div></div>` +
    `<div class="w">${places}${until}${ruleMarkup(finding.rule, links)}` +
    `${finding.lowered_by ? `<span>lowered by ${esc(finding.lowered_by)}</span>` : ""}</div>` +
    [...Map.groupBy(below, belowMarkup)].map(([markup, { length }]) =>
      `<div class="sub">${length > 1 ? `${length} × ` : ""}${markup}</div>`).join("") +
    reasons(finding, indices[0]) + "</div>";
}

// A finding that follows from another one. Its sign says that it counts among the findings.
function belowMarkup({ severity, message, rule }) {
  return `${icon(severity)} ${prose(cut(message.replace(/:[\s\S]*/, ""), 200))} <code>${esc(rule)}</code>`;
}

// What rules forgive, reports may not count all the same. That the server refused an event is told by its status.
function uncountedMarkup(facts) {
  const lost = facts.order.events.filter((i) => facts.why(i) && !facts.isRefused(i));
  if (!lost.length) return "";
  const groups = [...Map.groupBy(lost, facts.why)], shown = groups.slice(0, MOST_REASONS), more = groups.length - shown.length;
  const told = shown.map(([why, events]) =>
    `<div class="sub">${esc(why)}</div><div class="w">${placesMarkup(facts, events.map((i) => facts.E.n[i]), events.length)}</div>`);
  return `<div class="fi s-info"><div class="h">${icon("info")}<div class="m">Reports do not count ${plural(lost.length, "event")} ` +
    `as sent</div></div>${told.join("")}${more > 0 ? `<div class="sub">and ${plural(more, "other reason")}</div>` : ""}</div>`;
}

// The first places; the timeline marks all that there are numbers of.
function placesMarkup(facts, numbers, all) {
  if (!numbers.length) return "";
  const rest = all - Math.min(numbers.length, MOST_PLACES), unmarked = all - numbers.length;
  const more = unmarked > 0 ? `and ${count(rest)} more, of which ${count(unmarked)} are not marked` : `and ${count(rest)} more`;
  return numbers.slice(0, MOST_PLACES).map((number) => placeMarkup(facts, number)).join("") + (rest > 0 ? `<span>${more}</span>` : "");
}

function placeMarkup(facts, number) {
  const i = facts.numbers.get(number);
  if (i === undefined) return `<span>#${number}</span>`;
  return `<button type="button" class="go" data-go="${number}">#${number} ${esc(cut(facts.type(i), 24))} ${clock(facts.E.t[i])}</button>`;
}

function ruleMarkup(rule, links) {
  const href = links.rule?.(rule);
  return href ? `<a href="${esc(href)}"><code>${esc(rule)}</code></a>` : `<code>${esc(rule)}</code>`;
}

function reasons({ why, fix }, index) {
  if (!why && !fix) return "";
  const mend = fix ? `<p><b>Fix:</b> ${prose(fix)}</p>` : "";
  return `<details data-fold="why ${index}"><summary>Why it matters, how to fix it</summary>${paragraphs(why)}${mend}</details>`;
}

function paragraphs(text) {
  return text.split("\n\n").filter(Boolean).map((paragraph) => `<p>${prose(paragraph)}</p>`).join("");
}

// What the findings leave open: exchanges that were lost, and rules that could not be applied.
function unjudged({ not_applied: rules, gaps }) {
  const lost = gaps.length ? foldMarkup("lost", `${plural(gaps.length, "exchange")} lost while recording`, gaps.map(gapMarkup)) : "";
  if (!rules.length) return lost;
  const were = rules.length === 1 ? "was" : "were", names = rules.map((rule) => `<code>${esc(rule)}</code>`).join(", ");
  return `${lost}<p class="dim small">Not all of the session is known, so ${plural(rules.length, "rule")} ${were} not applied: ${names}.</p>`;
}

function gapMarkup({ at, what, why }) {
  return `<p class="lost"><span class="mono">${esc(at.slice(11, 19))} ${esc(cut(what, 120))}</span> ${esc(cut(why ?? "", 200))}</p>`;
}
