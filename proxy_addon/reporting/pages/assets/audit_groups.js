// The groups as a table that sorts and filters; a group that is clicked is chosen.
import { auditAddress } from "./audit_address.js";
import { groupName, moment, percent } from "./audit_words.js";
import { SEARCH_HINT, goToSearch, onKey } from "./family.js";
import { count, esc, lasted, plural } from "./words.js";

// What a column is called, of which kind it is, what it shows, and by what it sorts: numbers from the highest on.
const COLUMNS = [
  ["Sessions", "n", (row) => count(row.sessions), (row) => row.sessions],
  ["Events", "n wide-only", (row) => count(row.events), (row) => row.events],
  ["Errors", "n", (row) => found(row, "error"), (row) => row.found.error],
  ["Warnings", "n", (row) => found(row, "warning"), (row) => row.found.warning],
  ["Notes", "n wide-only", (row) => found(row, "info"), (row) => row.found.info],
  ["Without findings", "n", (row) => percent(row.clean / (row.sessions || 1)), (row) => row.clean / (row.sessions || 1)],
  ["Events counted", "n wide-only", (row) => (row.sent ? percent(row.counted / row.sent) : ""), (row) => (row.sent ? row.counted / row.sent : -1)],
  ["Content time per session", "n wide-only", (row) => (row.content_s === null ? "" : lasted(row.content_s)), (row) => row.content_s ?? -1],
  ["Last session (UTC)", "wide-only", (row) => esc(moment(row.last)), (row) => row.last ?? ""],
];

const MOST_UNSCROLLED = 25;

/** Show the groups in an empty element; `show()` marks the one that is chosen. */
export function mountGroups(root, context) {
  const { page: { audit, groups }, keys } = context, whole = wholeRow(audit.all), wanted = { text: "", by: null, isUp: false };
  root.innerHTML =
    `<div class="sech"><h2>Groups</h2><p>by ${esc(audit.by)}${audit.by_param ? `, <code>${esc(audit.by_param)}</code> of the start` : ""}. ` +
    'Errors, warnings and notes: in how many places.<span class="how"> Choose a group, and all of the page is about it.</span></p>' +
    `<span class="space"></span><input type="search" aria-label="Search the groups" placeholder="${SEARCH_HINT}">` +
    '<span class="shown dim" role="status"></span></div>' +
    `<div class="wide${groups.length > MOST_UNSCROLLED ? " tall" : ""}" tabindex="0" role="region" aria-label="Table of groups">` +
    '<table class="groups"><thead><tr>' +
    ["Group", ...COLUMNS.map(([name]) => name)].map((name, k) =>
      `<th scope="col" class="${k ? COLUMNS[k - 1][1] : "head"}"><button type="button" data-by="${k}">${name}</button></th>`).join("") +
    "</tr></thead><tbody></tbody></table></div>";
  const body = root.querySelector("tbody"), find = root.querySelector("input"), status = root.querySelector(".shown");

  function draw() {
    const passing = groups.map((row, k) => [row, k]).filter(([row]) => groupName(row.name).toLowerCase().includes(wanted.text));
    if (wanted.by !== null) {
      const value = wanted.by ? COLUMNS[wanted.by - 1][3] : (row) => groupName(row.name).toLowerCase();
      passing.sort(([a], [b]) => compared(value(a), value(b)) * (wanted.isUp ? 1 : -1));
    }
    root.querySelectorAll("thead th").forEach((head, k) => {
      if (k === wanted.by) head.setAttribute("aria-sort", wanted.isUp ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    status.textContent = wanted.text ? `${count(passing.length)} of ${plural(groups.length, "group")}` : "";
    body.innerHTML = (wanted.text ? "" : rowMarkup(whole, null)) + passing.map(([row, k]) => rowMarkup(row, k)).join("");
    mark();
  }

  function rowMarkup(row, k) {
    const href = esc(auditAddress({ group: k === null ? null : keys[k] })), name = k === null ? "all" : groupName(row.name);
    return `<tr data-k="${k ?? ""}"${k === null ? ' class="whole"' : ""}>` +
      `<th scope="row" class="head"><a href="${href}" title="${esc(name)}"><bdi>${esc(name)}</bdi></a></th>` +
      `${COLUMNS.map(([, kind, shown]) => `<td class="${kind}">${shown(row)}</td>`).join("")}</tr>`;
  }

  function mark() {
    const k = context.chosen?.k ?? null;
    for (const row of body.rows) {
      if (row.dataset.k === String(k ?? "")) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    };
  }

  root.querySelector("thead").addEventListener("click", ({ target }) => {
    const by = target.dataset.by && Number(target.dataset.by);
    if (by === undefined) return;
    Object.assign(wanted, by === wanted.by ? { isUp: !wanted.isUp } : { by, isUp: by === 0 });
    draw();
  });
  body.addEventListener("click", ({ target }) => {
    if (!target.closest("a") && getSelection().isCollapsed) target.closest("tr")?.querySelector("a").click();
  });
  find.addEventListener("input", () => {
    wanted.text = find.value.trim().toLowerCase();
    draw();
  });
  onKey("/", () => goToSearch(find));
  draw();
  return { show: mark };
}

function wholeRow(all) {
  const found = {};
  for (const severity of ["error", "warning", "info"]) found[severity] = all.findings.reduce((sum, each) => sum + each.severities[severity], 0);
  const content = all.metrics.find((each) => each.metric === "content_time_spent_s");
  return { ...all, found, sent: all.funnel.sent, counted: all.funnel.counted, content_s: content.per_session };
}

function compared(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

function found(row, severity) {
  return row.found[severity] ? `<b class="i-${severity}">${count(row.found[severity])}</b>` : "";
}
