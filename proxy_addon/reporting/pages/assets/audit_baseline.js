// What changed since the baseline: of all sessions, or of the group that was chosen.
import { LENGTHS, SPEEDS } from "./audit_scale.js";
import { plainTable } from "./audit_table.js";
import { figure, groupName, partOf, sessionLinks } from "./audit_words.js";
import { icon } from "./icons.js";
import { count, cut, esc, lasted, plural, prose } from "./words.js";

const LONGEST = 160, MOST_NAMED = 24;
const COLUMNS = [["What"], ["Before", "n before"], ["After", "n after"], ["Change"], ["p", "n chance"], ["Look at", "look-at"]];
const WITHIN_COLUMNS = [COLUMNS[0], ["Group", "group"], ...COLUMNS.slice(1)];
const IN_ALL = { kind: "stacked changes" }, IN_GROUPS = { ...IN_ALL, caption: "In groups alone" };
const TESTS = { fisher: "Fisher's exact test", "mann-whitney": "Mann-Whitney U test" };
const TURNS = { appeared: "▲", more: "▲", higher: "▲", vanished: "▼", less: "▼", lower: "▼" };
const FOLDED = [
  ["may_be_chance", "Differs, but may be chance"],
  ...["Findings", "Losses", "Rhythm", "Metrics"].map((title) => [title.toLowerCase(), `${title} before and after`]),
];

/** The sign of a change as markup, with its word for whom it is not enough. */
export function turnMarkup(turn) {
  return turn ? `<span class="turn" role="img" aria-label="${turn}" title="${turn} since the baseline">${TURNS[turn]}</span>` : "";
}

/** Show what changed in an empty element; `show()` draws that of the group that is chosen. */
export function mountBaseline(root, context) {
  const { audit, rules, losses, metrics, measures } = context.page, { baseline } = audit;
  const names = new Map(Object.values(metrics).flatMap((each) => Object.entries(each)));
  root.innerHTML =
    `<div class="sech"><h2>Baseline</h2><p>What changed, compared with <bdi>${esc(cut(baseline.baseline, LONGEST))}</bdi>. ` +
    "p says how likely such a difference is by chance; behind a mean or median is the range from 5 % to 95 % of the sessions.</p></div>" +
    '<div class="box"></div>';
  const box = root.lastElementChild;

  function measureName(id) {
    const [measure, state] = id.split(".");
    return `${measures[measure] ?? measure}${state ? `, ${state}` : ""}`;
  }

  function draw() {
    const { k, group: { changes, name, verdict } } = context.chosen;
    if (!changes) {
      box.innerHTML = `<p class="none">The baseline has no sessions of <bdi>${esc(groupName(name))}</bdi>.</p>`;
      return;
    }
    const { before, after, changes: found, compared } = changes, { undecided } = verdict, isAll = k === null, { within } = context.page;
    const where = isAll && audit.by !== null ? " in all sessions and in groups" : "";
    const few = undecided ? `; ${plural(undecided, "difference")}${where} may be chance, as there are not enough sessions to say` : "";
    const number = found.flatMap(withBeneath).length, beneath = number - found.length;
    const told = `${number ? count(number) : "none"} of ${plural(compared, "comparison")} ${number > 1 ? "are" : "is"}`;
    const follow = beneath ? `; ${count(beneath)} of them beneath another one with the same cause` : "";
    const { left_out_before: oldLeft, left_out_after: newLeft } = changes;
    const left = oldLeft || newLeft
      ? ` Without ${count(oldLeft)} before and ${count(newLeft)} after of which requests or bodies are not known.` : "";
    box.innerHTML = `<p class="dim">${plural(before, "session")} before, ${count(after)} after: ` +
      `${told} more than chance and large enough to matter${follow}${few}.${left}</p>` +
      `${found.length ? plainTable("Changes", COLUMNS, found.flatMap(withBeneath).map(rowOf), IN_ALL) : ""}` +
      (isAll && within.length ? plainTable("Changes in groups", WITHIN_COLUMNS, within.flatMap(withBeneath).map(groupRowOf), IN_GROUPS) : "") +
      manyMarkup(changes.many_values) +
      FOLDED.filter(([part]) => changes[part].length).map(([part, title]) =>
        `<details><summary>${title}</summary>${plainTable(title, COLUMNS, changes[part].map(rowOf), IN_ALL)}</details>`).join("") +
      (isAll ? onlyMarkup("only before", baseline.only_before) + onlyMarkup("only after", baseline.only_after) : "");
  }

  function rowOf(each) {
    const { before, after, change, p, test, severity, look_at: ids } = each;
    const head = `${severity ? icon(severity) : ""} ${nameOf(each)}`;
    const cells = [head, sideMarkup(each, before), sideMarkup(each, after), changeMarkup(each), chanceMarkup(p, test), sessionLinks(ids, context)];
    return { kind: change ? (each.isBeneath ? "beneath" : "") : "zero", cells };
  }

  function groupRowOf({ group, ...each }) {
    const { kind, cells: [head, ...others] } = rowOf(each);
    return { kind, cells: [head, `<bdi>${esc(groupName(group))}</bdi>`, ...others] };
  }

  function nameOf({ what, event, section, name, detail }) {
    const key = `<code><bdi>${esc(cut(name, LONGEST))}</bdi></code>${section && section !== "params" ? ` in ${esc(section)}` : ""}`;
    switch (what) {
      case "finding": return `${prose(rules[name] ?? name)} <code>${esc(name)}</code>`;
      case "event": return `<code>${esc(event)}</code> is sent`;
      case "event-number": return `number of <code>${esc(event)}</code>`;
      case "key": return `${key} on <code>${esc(event)}</code>`;
      case "key-throughout": return `${key} on all <code>${esc(event)}</code>`;
      case "type": return `${key} on <code>${esc(event)}</code> is ${esc(detail)}`;
      case "value": return `${key} on <code>${esc(event)}</code> has the value <bdi>${esc(cut(detail, LONGEST))}</bdi>`;
      case "plan": return `${name && `${key} on `}<code>${esc(event)}</code> <span class="dim">${esc(cut(detail, LONGEST))}</span>`;
      case "loss": return `${esc(losses[name] ?? "")} <code>${esc(name)}</code>`;
      case "slow-answers": return "answers after more than 5 s";
      case "rhythm": return esc(measureName(name));
      default: return esc(names.get(name) ?? name.replaceAll("_", " "));
    }
  }

  return { show: draw };
}

function withBeneath({ beneath, ...each }) {
  return [each, ...beneath.map((other) => ({ ...other, group: each.group, isBeneath: true }))];
}

function sideMarkup({ what, name }, { sessions, of, p5, p50, p95, mean }) {
  if (p50 === null) return partOf(sessions, of);
  const isRhythm = what === "rhythm", told = isRhythm ? (name === "playhead_speed" ? SPEEDS : LENGTHS).told : (value) => metricWords(name, value);
  const middle = isRhythm ? `median ${told(p50)}` : `mean ${told(mean)}`;
  const title = `of ${plural(of, "session")}; 5 % up to ${told(p5)}, 95 % up to ${told(p95)}`;
  const spread = told(p5) === told(p95) ? "" : ` <span class="dim">(${told(p5)} to ${told(p95)})</span>`;
  return `<span title="${esc(title)}">${middle}${spread}</span>`;
}

function metricWords(name, value) {
  return name.endsWith("_s") ? lasted(value) : figure(value, 2);
}

function changeMarkup({ change, before, after, look_at: ids }) {
  if (change) return `<b>${TURNS[change]} ${change}</b>`;
  const isSame = ["share", "mean", "p50"].every((name) => before[name] === after[name]);
  return isSame ? "" : `<span class="dim">${ids.length ? "may be chance" : "too little to matter"}</span>`;
}

function chanceMarkup(p, test) {
  return `<span title="${esc(TESTS[test] ?? test)}">${p < 0.001 ? "< 0.001" : p.toFixed(3)}</span>`;
}

function manyMarkup(keys) {
  if (!keys.length) return "";
  const names = keys.slice(0, MOST_NAMED).map((key) => `<code><bdi>${esc(cut(key, LONGEST))}</bdi></code>`).join(", ");
  const more = keys.length > MOST_NAMED ? ` and ${count(keys.length - MOST_NAMED)} more` : "";
  return `<p class="dim">Not compared: values of ${plural(keys.length, "key")} with more than 64: ${names}${more}.</p>`;
}

function onlyMarkup(when, names) {
  if (!names.length) return "";
  return `<p class="dim">Groups ${when}: ${names.map((name) => `<bdi>${esc(groupName(name))}</bdi>`).join(", ")}</p>`;
}
