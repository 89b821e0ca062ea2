// The verdict: a word, the sentences of the audit, and numbers; and what was audited.
import { began, groupName } from "./audit_words.js";
import { VERDICTS, icon } from "./icons.js";
import { count, cut, esc, plural, prose } from "./words.js";

const LONGEST_MESSAGE = 160, LONGEST_VALUE = 200;
/** Filters of what is found, and not of sessions. */
const OF_RULES = new Set(["select", "ignore"]);
/** What states mean that do not say it themselves. */
const STATES_EXPLAINED = { expired: "timed out", failed: "not opened", partial: "start not seen" };

/** Fill the verdict bar, and the list of what was audited. */
export function auditHead(bar, list, context) {
  const { page: { audit, groups }, chosen: { k, group } } = context;
  const { level, sentences } = group.verdict, [word, sign] = VERDICTS[level], { sent, counted } = group.funnel, isOne = k !== null;
  const of = audit.by === null ? "" : isOne ? ` of ${groups.length}` : ` in ${plural(groups.length, "group")} by ${audit.by}`;
  const filters = audit.filters.filter(([name]) => !OF_RULES.has(name)).map(([, value]) => value).join(", ");
  const which = filters || (audit.baseline && !audit.source.includes("://") ? audit.source : ""); // files, beside those of the baseline
  const beside = audit.baseline ? `, compared with ${audit.baseline.baseline}` : "";
  const title = isOne ? groupName(group.name) : `${plural(group.sessions, "session")}${which && ` (${which})`}${of}${beside}`;
  const found = (severity) => group.findings.reduce((sum, each) => sum + each.severities[severity], 0);
  const numbers = [
    ["sessions", group.sessions, ""], ["without findings", group.clean, ""], ["errors", found("error"), "bad"],
    ["warnings", found("warning"), "odd"], ["events", sent, ""], ["not counted", sent - counted, "bad"],
  ];
  const clean = `${count(group.clean)} of ${plural(group.sessions, "session")} without findings`;
  bar.className = `verdict v-${level}`;
  bar.innerHTML =
    `<div class="word">${icon(sign, word)}<span>${word}</span></div>` +
    `<div><h1 dir="auto">${esc(cut(title, LONGEST_VALUE))}</h1>${headlineMarkup(sentences, context)}` +
    `<p class="ended">${group.sessions ? `${clean} · ${esc(began(group.first, group.last))}` : ""}</p></div>` +
    `<div class="nums">${numbers.map(([what, number, tone]) =>
      `<div class="${number ? tone : "zero"}"><b>${count(number)}</b><span>${what}</span></div>`).join("")}</div>`;
  list.innerHTML = [
    ["Source", audit.source], ...audit.filters.map(([name, value]) => [name, value]), ["Groups by", audit.by], ["Plan", audit.plan],
    ["Exchanges", count(group.exchanges)],
    ["States", Object.entries(group.states).map(numberOfState).join(", ")],
  ].filter(([, value]) => value).map(([label, value]) => {
    const whole = esc(cut(value, LONGEST_VALUE));
    return `<div><dt>${esc(label)}</dt> <dd title="${whole}"><bdi>${whole}</bdi></dd></div>`;
  }).join("");
}

/** One of the findings of a rule in its own words, for an example; nothing if the file has no session that breaks it. */
export function exampleOf({ rule, look_at: ids }, { page }) {
  return cut(ids.map((id) => page.sessions[id]?.messages[rule]).find(Boolean) ?? "", LONGEST_MESSAGE);
}

function numberOfState([state, number]) {
  return `${count(number)} ${state}${STATES_EXPLAINED[state] ? ` (${STATES_EXPLAINED[state]})` : ""}`;
}

// What was found and what changed, each in a paragraph, and an example of the worst that was found.
function headlineMarkup(sentences, context) {
  const abouts = [...new Set(sentences.map(({ about }) => about))], worst = sentences.find(({ rule }) => rule);
  return abouts.map((about) => `<p class="headline">${sentences.filter((each) => each.about === about).map((each) =>
    prose(each.text) + (each === worst ? exampleMarkup(each, context) : "")).join(" ")}</p>`).join("");
}

function exampleMarkup({ rule }, context) {
  const found = context.chosen.group.findings.find((each) => each.rule === rule), example = exampleOf(found, context);
  return example && ` <span class="dim">For example: ${esc(example.replace(/\.$/, ""))}.</span>`;
}
