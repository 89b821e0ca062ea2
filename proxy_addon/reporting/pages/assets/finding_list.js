// The findings of a session, the worst first. Many of one rule are folded, and so are notes beside many other findings.
import { icon } from "./icons.js";
import { clock, cut, esc, plural, prose } from "./words.js";

const MOST_PLACES = 4, MOST_OF_RULE = 4, SHOWN_OF_RULE = 2, MOST_BESIDE_NOTES = 4;

/** All findings as markup. */
export function findingsMarkup(facts, links) {
  const { value, leading } = facts;
  if (!leading.length) {
    const praise = value.verdict.level === "pass" ? " Every request was accepted and follows the rules of the protocol." : "";
    return `<p class="none">No findings.${praise}</p>${unjudged(value)}`;
  }
  const notes = leading.filter(({ finding }) => finding.severity === "info");
  const rest = leading.filter(({ finding }) => finding.severity !== "info");
  const groups = Map.groupBy(rest, ({ finding }) => `${finding.severity} ${finding.rule}`);
  const told = [...groups.values()].map((group) => groupMarkup(facts, group, links)).join("");
  if (!notes.length) return told + unjudged(value);
  const summary = `${plural(notes.length, "note")} – nothing urgent`;
  return `${told}<details class="notes" data-fold="notes"${rest.length > MOST_BESIDE_NOTES ? "" : " open"}><summary>${summary}</summary>` +
    `${notes.map((each) => findingMarkup(facts, each, links)).join("")}</details>${unjudged(value)}`;
}

function groupMarkup(facts, group, links) {
  const markup = group.map((each) => findingMarkup(facts, each, links));
  if (group.length <= MOST_OF_RULE) return markup.join("");
  const rule = esc(group[0].finding.rule), more = markup.splice(SHOWN_OF_RULE);
  return `${markup.join("")}<details class="notes" data-fold="of ${rule}"><summary>${more.length} more of ${rule}</summary>${more.join("")}</details>`;
}

function findingMarkup(facts, { finding, index }, links) {
  const { value } = facts, below = value.findings.filter((each) => each.below === index);
  const rest = Math.max(finding.count, finding.places.length) - Math.min(finding.places.length, MOST_PLACES);
  const places = finding.places.slice(0, MOST_PLACES).map((number) => placeMarkup(facts, number)).join("") || "<span>whole session</span>";
  const hasEnd = finding.until != null && finding.count === 1 && !finding.places.includes(finding.until);
  const until = hasEnd ? `<span>to</span>${placeMarkup(facts, finding.until)}` : "";
  return `<div class="fi s-${finding.severity}"><div class="h">${icon(finding.severity)}<div class="m">${prose(finding.message)}</div></div>` +
    `<div class="w">${places}${rest > 0 && finding.places.length ? `<span>+${rest}</span>` : ""}${until}${ruleMarkup(finding.rule, links)}` +
    `${finding.lowered_by ? `<span>lowered by ${esc(finding.lowered_by)}</span>` : ""}</div>` +
    below.map((each) => `<div class="sub">${prose(cut(each.message.replace(/:[\s\S]*/, ""), 200))} <code>${esc(each.rule)}</code></div>`).join("") +
    reasons(finding, index) + "</div>";
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
  const lost = gaps.length
    ? `<details class="notes" data-fold="lost"><summary>${plural(gaps.length, "exchange")} lost while recording</summary>${gaps.map(gapMarkup).join("")}</details>`
    : "";
  if (!rules.length) return lost;
  const were = rules.length === 1 ? "was" : "were", names = rules.map((rule) => `<code>${esc(rule)}</code>`).join(", ");
  return `${lost}<p class="dim small">Not all of the session is known, so ${plural(rules.length, "rule")} ${were} not applied: ${names}.</p>`;
}

function gapMarkup({ at, what, why }) {
  return `<p class="lost"><span class="mono">${esc(at.slice(11, 19))} ${esc(cut(what, 120))}</span> ${esc(cut(why ?? "", 200))}</p>`;
}
