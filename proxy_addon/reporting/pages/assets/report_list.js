// The sessions of a report as a list that can be searched, filtered, sorted in two orders, and walked by keys.
import { SEARCH_HINT, goToSearch, onKey, onPrint } from "./family.js";
import { VERDICTS, icon } from "./icons.js";
import { SESSION_COLUMNS, headOf, newRow } from "./session_rows.js";
import { count, cut, esc, visible } from "./words.js";

const LISTED_AT_ONCE = 200;
const TYPED_WITHIN_MS = 100;
const LONGEST_HEADLINE = 400, LONGEST_TEST = 200;
const VERDICT_LEVELS = ["fail", "warn", "pass"];
const SEARCHED_IN = [
  "id", "session_id", "media_name", "media_id", "player_name", "app_version", "device", "user_agent", "recording", "state", "headline",
];

/**
 * Show the sessions of a report in an empty element.
 *
 * `hrefOf(row)` returns the address of a session's page, or null if it has none. Returns `show(id)`, which is called when the
 * list is seen again, with the session that was left, and `hide()`.
 */
export function mountReportList(root, { rows, rules, names_recordings: areNamed }, { hrefOf }) {
  const wanted = { text: "", level: null, rule: null, worst: false, most: LISTED_AT_ONCE };
  const texts = new Map(rows.map((row) => [row, SEARCHED_IN.map((name) => row[name] ?? "").join("\n").toLowerCase()]));
  let chosen = null, typing = 0, unlisten = [];

  root.innerHTML =
    `<div class="tools"><input type="search" aria-label="Search the sessions" placeholder="${SEARCH_HINT}" class="find">` +
    `<span class="seg" role="group" aria-label="Verdict"><button type="button" data-level="">All</button>` +
    `${VERDICT_LEVELS.map((level) => `<button type="button" data-level="${level}">${VERDICTS[level][0]}</button>`).join("")}</span>` +
    `<span class="seg" role="group" aria-label="Order"><button type="button" data-order="newest">Newest first</button>` +
    `<button type="button" data-order="worst">Worst first</button></span><span class="shown dim" role="status"></span></div>` +
    `<div class="rules" role="group" aria-label="What was found">${rules.map(ruleButton).join("")}</div><div class="listing"></div>`;
  const [tools, found, listing] = root.children;
  const find = tools.querySelector(".find"), status = tools.querySelector(".shown");

  find.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => redraw({ text: find.value.trim().toLowerCase() }), TYPED_WITHIN_MS);
  });
  tools.addEventListener("click", ({ target }) => {
    const { level, order } = target.dataset;
    if (level != null) redraw({ level: level || null });
    if (order) redraw({ worst: order === "worst" });
  });
  found.addEventListener("click", ({ target }) => {
    const rule = target.closest("button")?.dataset.rule;
    if (rule) redraw({ rule: rule === wanted.rule ? null : rule });
  });
  listing.addEventListener("click", (event) => {
    if (event.target.closest(".further button")) showMore();
    else if (!event.target.closest("a") && getSelection().isCollapsed) event.target.closest("tr")?.querySelector("a")?.click();
  });
  listing.addEventListener("focusin", ({ target }) => {
    chosen = target.closest("tr")?.dataset.id ?? chosen;
  });

  function matching() {
    const passing = rows.filter((row) =>
      (!wanted.level || row.verdict === wanted.level) && (!wanted.rule || row.rules.includes(wanted.rule)) &&
      (!wanted.text || texts.get(row).includes(wanted.text)));
    return wanted.worst ? passing.sort(byBadness) : passing;
  }

  function redraw(change) {
    Object.assign(wanted, { most: LISTED_AT_ONCE }, change);
    const passing = matching(), left = passing.length - wanted.most;
    for (const button of tools.querySelectorAll("[data-level]")) press(button, (button.dataset.level || null) === wanted.level);
    for (const button of tools.querySelectorAll("[data-order]")) press(button, (button.dataset.order === "worst") === wanted.worst);
    for (const button of found.children) press(button, button.dataset.rule === wanted.rule);
    status.textContent = passing.length === rows.length ? "" : `${count(passing.length)} of ${count(rows.length)}`;
    if (!passing.length) {
      listing.innerHTML = `<p class="none">${rows.length ? "No session matches." : "This report has no sessions."}</p>`;
      return;
    }
    listing.replaceChildren(reportTable(passing.slice(0, wanted.most), hrefOf, areNamed));
    if (left > 0) {
      listing.insertAdjacentHTML("beforeend",
        `<p class="further"><button type="button">Show ${count(Math.min(left, LISTED_AT_ONCE))} more of ${count(left)}</button></p>`);
    }
  }

  function showMore() {
    redraw({ most: wanted.most + LISTED_AT_ONCE });
    step(1);
  }

  function press(button, is) {
    button.setAttribute("aria-pressed", String(is));
  }

  function step(by) {
    const links = [...listing.querySelectorAll("tbody a")];
    if (!links.length) return;
    const at = links.findIndex((link) => link.closest("tr").dataset.id === chosen);
    if (by > 0 && at === links.length - 1 && listing.querySelector(".further")) {
      showMore();
      return;
    }
    const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.max(0, Math.min(links.length - 1, at + by))];
    next.focus({ preventScroll: true });
    next.closest("tr").scrollIntoView({ block: "nearest" });
  }

  function focusChosen() {
    const row = [...listing.querySelectorAll("tr[data-id]")].find((each) => each.dataset.id === chosen);
    row?.querySelector("a")?.focus({ preventScroll: true });
  }

  redraw({});
  // Paper has no button for more.
  onPrint(() => {
    const { most } = wanted;
    if (root.hidden || matching().length <= most) return () => {};
    redraw({ most: Infinity });
    return () => {
      redraw({ most });
      focusChosen();
    };
  });
  return {
    show(id) {
      root.hidden = false;
      chosen = id ?? chosen;
      focusChosen();
      unlisten = [onKey("j", () => step(1)), onKey("k", () => step(-1)), onKey("/", () => goToSearch(find))];
      unlisten.push(onKey("Enter", () => (chosen === null ? step(1) : focusChosen())));
    },
    hide() {
      root.hidden = true;
      for (const undo of unlisten.splice(0)) undo();
    },
  };
}

function ruleButton([rule, severity, number]) {
  const told = `${severity} in ${count(number)} of the sessions in full`;
  return `<button type="button" class="rule s-${esc(severity)}" data-rule="${esc(rule)}" title="${esc(told)}">` +
    `${icon(severity)} ${esc(rule)} <b>${count(number)}</b></button>`;
}

function reportTable(sessions, hrefOf, areNamed) {
  const table = document.createElement("table");
  table.setAttribute("aria-label", "Sessions");
  table.innerHTML = headOf(SESSION_COLUMNS);
  table.createTBody().append(...sessions.map((session) => reportRow(session, hrefOf, areNamed)));
  return table;
}

function reportRow(session, hrefOf, areNamed) {
  const row = newRow(session, { hrefOf, goesOn: false });
  if (areNamed && session.recording) {
    const name = `<div class="recording dim small"><bdi>${esc(cut(session.recording, LONGEST_TEST))}</bdi></div>`;
    row.querySelector(".c-media").insertAdjacentHTML("beforeend", name);
  }
  row.classList.toggle("alone", session.part === null);
  row.title = visible(cut(session.headline ?? "Not in full in this file, because other sessions are worse.", LONGEST_HEADLINE));
  row.querySelector("a")?.setAttribute("aria-description", row.title); // a title is seen by the pointer alone
  return row;
}

function byBadness(one, other) {
  const weights = ({ verdict, findings }) => [-VERDICT_LEVELS.indexOf(verdict), findings.error, findings.warning, findings.info];
  const a = weights(one), b = weights(other), k = a.findIndex((weight, index) => weight !== b[index]);
  return k < 0 ? 0 : b[k] - a[k];
}
