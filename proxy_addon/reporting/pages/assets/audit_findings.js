// Findings as a matrix: rules by groups, the worst and the largest first. What is opened says which sessions to look at.
import { turnMarkup } from "./audit_baseline.js";
import { walkable } from "./audit_grid.js";
import { exampleOf } from "./audit_head.js";
import { began, groupName, partOf, percents, sessionList, shortNames, strength } from "./audit_words.js";
import { icon } from "./icons.js";
import { count, esc, plural, prose } from "./words.js";

const MOST_COLUMNS = 200, FEW = 8, MOST_UNSCROLLED = 40, ON_PAPER = 10;
const ALL = -1;

/** Show the findings in an empty element; `show()` draws those of the group that is chosen. */
export function mountFindings(root, context) {
  const { page: { audit: { all }, groups, matrix, turns } } = context, shares = new Map(all.findings.map(({ rule, share }) => [rule, share]));
  const shorts = shortNames(groups.map(({ name }) => name));
  let seen = [], opened = null;

  root.innerHTML = '<div class="sech"><h2>Findings</h2><p></p></div><div class="box"></div>';
  const [, box] = root.children, about = root.querySelector("p");

  function draw() {
    const { k, group } = context.chosen, rules = group.findings;
    opened = null;
    if (!rules.length) {
      about.textContent = "";
      box.innerHTML = `<p class="none">Nothing found.</p>`;
      return;
    }
    seen = groups.map((_, at) => at).slice(0, MOST_COLUMNS);
    if (k !== null) seen = [k, ...seen.filter((at) => at !== k)].slice(0, MOST_COLUMNS);
    about.innerHTML = told(k);
    const isMany = seen.length > FEW, isTall = isMany || rules.length > MOST_UNSCROLLED;
    box.innerHTML =
      `<div class="wide${isTall ? " tall" : ""}" role="region" aria-label="Findings by rule and group">` +
      `<table class="matrix${isMany ? " many" : ""}" role="grid" aria-label="Findings"><thead><tr>${headMarkup(k)}</tr></thead>` +
      `<tbody>${rules.map((rule) => rowMarkup(rule, k)).join("")}</tbody><tfoot><tr>${footMarkup(group)}</tr></tfoot></table></div>`;
    const table = box.querySelector("table");
    walkable(table, { open: toggle }).restart();
  }

  function told(k) {
    const most = groups.length > MOST_COLUMNS ? ` The ${MOST_COLUMNS} groups with the most sessions are shown.` : "";
    const paper = groups.length > ON_PAPER ? ` <span class="paper-only">On paper are the first ${ON_PAPER} groups.</span>` : "";
    const order = k === null ? "" : " The chosen group comes first, with the rules that it breaks.";
    const of = groups.length ? "a group's" : "the", hint = '<span class="how">A click shows the sessions to look at.</span>';
    return `Beside the number of sessions, numbers are percent of ${of} sessions. ${hint}${order}${most}${paper}`;
  }

  function headMarkup(k) {
    const cells = seen.map((at, place) => {
      const name = groupName(groups[at].name), kind = `${at === k ? "chosen " : ""}${place >= ON_PAPER ? "off-paper" : ""}`;
      const title = `${name}, ${plural(groups[at].sessions, "session")}`, shown = seen.length > FEW ? shorts[at] : name;
      return `<th scope="col" tabindex="-1" class="${kind}" title="${esc(title)}"><span><bdi>${esc(shown)}</bdi></span></th>`;
    });
    return '<th scope="col" tabindex="-1" class="head">Rule</th><th scope="col" tabindex="-1" class="n sum">Sessions</th>' +
      `<th scope="col" tabindex="-1" class="sum"><span>all</span></th>${cells.join("")}`;
  }

  function rowMarkup(rule, k) {
    const numbers = matrix[rule.rule] ?? [], turn = turns[rule.rule] ?? {};
    const cells = seen.map((at, place) => {
      const kind = `${at === k ? "chosen" : ""} ${place >= ON_PAPER ? "off-paper" : ""}`;
      return cellMarkup((numbers[at] ?? 0) / (groups[at].sessions || 1), at, kind, turn[at]);
    });
    const what = context.page.rules[rule.rule] ?? rule.rule, example = esc(exampleOf(rule, context));
    const told = example && `<small title="${example}">for example: <bdi>${example}</bdi></small>`;
    const whole = cellMarkup(shares.get(rule.rule) ?? 0, ALL, "sum", turn.all);
    return `<tr class="s-${esc(rule.severity)}" data-rule="${esc(rule.rule)}"><th scope="row" tabindex="-1" class="head">` +
      `${icon(rule.severity)} <span><bdi>${prose(what)}</bdi><code>${esc(rule.rule)}</code>${told}</span></th>` +
      `<td tabindex="-1" class="n sum">${count(rule.sessions)}</td>${whole}${cells.join("")}</tr>`;
  }

  function cellMarkup(share, at, kind, turn) {
    return `<td tabindex="-1" data-at="${at}" class="t${strength(share)} ${kind}">${percents(share)}${turnMarkup(turn)}</td>`;
  }

  function footMarkup(group) {
    const broken = ({ clean, sessions }) => (sessions ? 1 - clean / sessions : 0);
    return '<th scope="row" tabindex="-1" class="head">any of them</th>' +
      `<td tabindex="-1" class="n sum">${count(group.sessions - group.clean)}</td><td tabindex="-1" class="sum">${percents(broken(all))}</td>` +
      seen.map((at, place) => `<td tabindex="-1" class="${place >= ON_PAPER ? "off-paper" : ""}">${percents(broken(groups[at]))}</td>`).join("");
  }

  // Show below its row what a cell stands for; the same cell again closes it.
  async function toggle(cell) {
    const row = cell.parentElement, { rule } = row.dataset;
    if (!rule) return;
    const at = Number(cell.dataset.at ?? context.chosen.k ?? ALL), key = `${rule} ${at}`, isOpen = opened === key;
    box.querySelector(".opened")?.remove();
    box.querySelector("[aria-expanded]")?.removeAttribute("aria-expanded");
    opened = isOpen ? null : key;
    if (isOpen) return;
    const group = await context.group(at === ALL ? null : at);
    if (opened !== key || !row.isConnected) return;
    const below = document.createElement("tr");
    below.className = "opened";
    below.innerHTML = `<td colspan="${row.cells.length}"><div class="look" role="status">${lookMarkup(rule, at, group)}</div></td>`;
    row.after(below);
    cell.setAttribute("aria-expanded", "true");
  }

  function lookMarkup(rule, at, group) {
    const found = group.findings.find((each) => each.rule === rule);
    const where = at !== ALL ? groupName(group.name) : groups.length ? "All groups" : "All sessions";
    if (!found) return `<p><b><bdi>${esc(where)}</bdi></b>: no session has this finding.</p>`;
    const { severity, sessions, exchanges, places, first, last, look_at: ids } = found;
    const numbers = `${partOf(sessions, group.sessions)} sessions, ${plural(exchanges, "exchange")}, ${plural(places, "place")}`;
    return `<p><b><bdi>${esc(where)}</bdi></b>: ${numbers}; ${sessions === 1 ? "it" : "they"} ${esc(began(first, last))}.</p>` +
      `<p class="dim">${esc(severity)}: ${prose(context.page.rules[rule] ?? "")} <code>sessiontape rules ${esc(rule)}</code> explains it.</p>` +
      `${sessionList(ids, context, rule)}`;
  }

  return { show: draw };
}
