// Whether what devices send is right, in a word, in the words of the worst findings, and in numbers; and what was audited.
import { changedWords } from "./audit_baseline.js";
import { groupName, moment, partOf } from "./audit_words.js";
import { VERDICTS, icon } from "./icons.js";
import { count, cut, esc, plural, prose } from "./words.js";

const TOLD = 3, LONGEST_MESSAGE = 160, LONGEST_VALUE = 200;

/** Fill the verdict bar, and the list of what was audited. */
export function auditHead(bar, list, context) {
  const { page: { audit, groups }, chosen: { k, group } } = context;
  const level = levelOf(group), [word, sign] = VERDICTS[level], { sent, counted } = group.funnel, isOne = k !== null;
  const of = audit.by === null ? "" : isOne ? ` of ${groups.length}` : ` in ${plural(groups.length, "group")} by ${audit.by}`;
  const title = isOne ? `${groupName(group.name)}` : `${plural(group.sessions, "session")}${of}`;
  const found = (severity) => group.findings.reduce((sum, each) => sum + each.severities[severity], 0);
  const numbers = [
    ["sessions", group.sessions, ""], ["without findings", group.clean, ""], ["errors", found("error"), "bad"],
    ["warnings", found("warning"), "odd"], ["events", sent, ""], ["not counted", sent - counted, "bad"],
  ];
  const changed = changedWords(group, audit), since = changed && ` · ${changed}`;
  const began = group.first ? ` · began from ${moment(group.first)} to ${moment(group.last)} UTC` : "";
  bar.className = `verdict v-${level}`;
  bar.innerHTML =
    `<div class="word">${icon(sign, word)}<span>${word}</span></div>` +
    `<div><h1 dir="auto">${esc(title)}</h1><p class="headline">${headline(level, context)}</p>` +
    `<p class="ended">${partOf(group.clean, group.sessions)} without findings${esc(began + since)}</p></div>` +
    `<div class="nums">${numbers.map(([what, number, tone]) =>
      `<div class="${number ? tone : "zero"}"><b>${count(number)}</b><span>${what}</span></div>`).join("")}</div>`;
  list.innerHTML = [
    ["Source", audit.source], ...audit.filters.map(([name, value]) => [name, value]), ["Groups by", audit.by], ["Plan", audit.plan],
    ["Events", plural(group.events, "event")], ["Exchanges", plural(group.exchanges, "exchange")],
    ["States", Object.entries(group.states).map(([state, number]) => `${count(number)} ${state}`).join(", ")],
  ].filter(([, value]) => value).map(([label, value]) => {
    const whole = esc(cut(value, LONGEST_VALUE));
    return `<div><dt>${esc(label)}</dt> <dd title="${whole}"><bdi>${whole}</bdi></dd></div>`;
  }).join("");
}

/** What a rule found, in the words of one of its findings if the file has such a session, else in those of the rule. */
export function messageOf({ rule, look_at: ids }, { page }) {
  return cut(ids.map((id) => page.sessions[id]?.messages[rule]).find(Boolean) ?? page.rules[rule] ?? rule, LONGEST_MESSAGE);
}

function levelOf({ findings, losses }) {
  const severities = new Set(findings.map((each) => each.severity)), lost = new Set(losses.filter((each) => each.sessions).map((each) => each.loss));
  if (severities.has("error") || lost.has("not-opened") || lost.has("start-unanswered")) return "fail";
  return severities.has("warning") || lost.has("refused") || lost.has("unanswered") ? "warn" : "pass";
}

function headline(level, context) {
  const { findings, losses, sessions } = context.chosen.group, grave = findings.filter(({ severity }) => severity !== "info");
  if (!sessions) return "There are no sessions to audit.";
  if (!grave.length && level === "fail") {
    const [refused, unanswered] = ["not-opened", "start-unanswered"].map((loss) => losses.find((each) => each.loss === loss).sessions);
    const told = refused ? [`Upstream answered the start of ${plural(refused, "session")} without opening one.`] : [];
    if (unanswered) told.push(`The start of ${plural(unanswered, "session")} has no answer.`);
    return told.join(" ");
  }
  if (!grave.length && level === "warn") return "Some of what was sent was not taken.";
  if (!grave.length) return findings.length ? "Nothing that would change a report." : "Nothing found.";
  const told = grave.slice(0, TOLD).map((each) =>
    `${prose(begun(messageOf(each, context)))} <span class="dim">(<code>${esc(each.rule)}</code>, ${plural(each.sessions, "session")})</span>.`);
  return told.join(" ") + (grave.length > TOLD ? ` And ${plural(grave.length - TOLD, "rule")} more.` : "");
}

// The beginning of a sentence; names of params and events stay as they are.
function begun(text) {
  const sentence = text.replace(/\.$/, ""), word = sentence.split(" ", 1)[0];
  return /^[a-z]+$/.test(word) ? sentence[0].toUpperCase() + sentence.slice(1) : sentence;
}
