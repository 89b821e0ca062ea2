// A session as a row of the list: the same cells for a new row and for one that has changed.
import { VERDICTS, icon } from "./icons.js";
import { stripMarkup } from "./strips.js";
import { count, cut, esc, lasted } from "./words.js";

const LONGEST_CELL = 200;

/** Names of the columns with their classes, in their order. */
export const SESSION_COLUMNS = [
  ["", "c-verdict"], ["Media", "c-media"], ["Playback", "c-strip"], ["Started (UTC)", "c-started"], ["Lasted", "c-lasted"],
  ["Player", "c-player"], ["Device", "c-device"], ["Events", "c-events"], ["Errors", "c-found"], ["Warnings", "c-found"],
  ["Notes", "c-found c-notes"], ["State", "c-state"],
];

/** The head of a table with such columns, as markup. */
export function headOf(columns) {
  const cells = columns.map(([name, kind]) => `<th scope="col" class="${kind}">${name || '<span class="sr">Verdict</span>'}</th>`);
  return `<thead><tr>${cells.join("")}</tr></thead>`;
}

/** Where a session's page is. */
export function addressOf(session) {
  return `/sessions/${encodeURIComponent(session.id)}`;
}

/**
 * A new row. `hrefOf(session)` says where the session's page is, or null if it has none; `goesOn` is false for a list in a file,
 * where the verdict on an open session stays as it is.
 */
export function newRow(session, how = {}) {
  const row = document.createElement("tr");
  for (const [, kind] of SESSION_COLUMNS) row.insertCell().className = kind;
  fillRow(row, session, how);
  return row;
}

/** Show a session in an existing row. Cells that stay the same are not touched, so a focus or a selection in them stays. */
export function fillRow(row, session, { hrefOf = addressOf, goesOn = true } = {}) {
  row.dataset.id = session.id;
  cellsOf(session, hrefOf(session), goesOn).forEach((markup, k) => {
    const cell = row.cells[k];
    if (cell.said === markup) return;
    cell.said = markup;
    cell.innerHTML = markup;
  });
}

function cellsOf(session, href, goesOn) {
  const [word, sign] = VERDICTS[session.verdict];
  const name = `<bdi>${esc(cut(session.media_name || session.media_id || "Unnamed media", LONGEST_CELL))}</bdi>`;
  const player = [session.player_name, session.app_version].filter(Boolean).join(" ");
  const { error, warning, info } = session.findings;
  return [
    icon(sign, goesOn && session.state === "open" ? `${word} so far` : word),
    `<div class="named">${href === null ? name : `<a href="${esc(href)}">${name}</a>`} <span class="mono dim">${esc(session.id)}</span></div>`,
    stripMarkup(session.strip),
    startMoment(session.started_at),
    esc(lasted(session.lasted_s)),
    heldText(player),
    heldText(session.device),
    count(session.events),
    foundNumber(error, "error"),
    foundNumber(warning, "warning"),
    foundNumber(info, "info"),
    `<span class="state-${esc(session.state)}">${esc(session.state)}</span>` +
      (session.lost ? ` <span class="bad" title="exchanges that could not be stored">${count(session.lost)} lost</span>` : ""),
  ];
}

function heldText(text) {
  const shown = text ?? "";
  return shown && `<span title="${esc(cut(shown, LONGEST_CELL))}"><bdi>${esc(cut(shown, LONGEST_CELL))}</bdi></span>`;
}

function foundNumber(number, severity) {
  return number ? `<b class="i-${severity}">${count(number)}</b>` : "";
}

/** Date and time; the style leaves out the date of a session of today where the list is not kept, and shows its seconds. */
function startMoment(at) {
  const kind = at.startsWith(new Date().toISOString().slice(0, 10)) ? "today" : "";
  return `<time datetime="${esc(at)}" title="${esc(at)}" class="${kind}"><span class="day">${esc(at.slice(0, 10))} </span>` +
    `${esc(at.slice(11, 16))}<span class="second">${esc(at.slice(16, 19))}</span></time>`;
}
