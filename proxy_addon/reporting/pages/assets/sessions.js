// The list of sessions: newest first, changing in place while they are recorded.
import { goToSearch, header, onKey } from "./family.js";
import { mountFilters } from "./session_filters.js";
import { SESSION_COLUMNS, fillRow, headOf, newRow } from "./session_rows.js";

/** How many rows are kept at most: the server sends updates for no more. */
export const MOST_ROWS = 1000;

/** What sessions are sorted by. */
function placeOf(session) {
  return session.started_at + session.id;
}

/**
 * Show the list in an empty element.
 *
 * `choose(pairs)` is called with the wanted filters, `more(id)` to get the sessions older than this one.
 *
 * Returns `replace(value)` for another list, `add(value)` for older sessions, `change(news)` for updates from the server,
 * `fail(text)` for a list that cannot be shown, and `size()`, the number of rows that need updates.
 */
export function mountSessions(root, value, { choose, more }) {
  root.innerHTML =
    '<header class="top"><div></div><h1 class="sr">Sessions</h1><div class="choosing"></div></header>' +
    '<main class="sessions"><p class="none" role="alert" hidden></p>' +
    '<p class="new"><button type="button" hidden></button></p>' +
    `<table aria-label="Sessions, newest first">${headOf(SESSION_COLUMNS)}<tbody></tbody></table>` +
    '<p class="none nothing" hidden></p><p class="further"><button type="button" hidden>Show older sessions</button></p></main><footer></footer>';
  const [top, main, foot] = root.children;
  const [alert, newLine, table, nothing, further] = main.children;
  const [body] = table.tBodies, [newButton] = newLine.children, [moreButton] = further.children;
  const rows = new Map(), waiting = new Map();
  let wanted = 0, hasOlder = false, pointed = false;

  header(top.firstElementChild, [{ text: "Sessions" }], true);
  const filters = mountFilters(top.lastElementChild, choose);

  function replace(next) {
    rows.clear();
    waiting.clear();
    body.replaceChildren();
    filters.show(next.filters);
    foot.textContent = `Store: ${next.store}`;
    alert.hidden = true;
    wanted = 0;
    add(next);
    nothing.textContent = next.filters.length ? "No session matches the filters." : "No sessions yet. They appear here as they are recorded.";
  }

  function add({ rows: sessions, older }) {
    for (const session of sessions) if (!rows.has(session.id)) put(session, null);
    wanted = Math.min(MOST_ROWS, Math.max(wanted + sessions.length, 200));
    hasOlder = Boolean(older);
    settle();
  }

  function change({ whole, rows: sessions, gone }) {
    const told = new Set(sessions.map(({ id }) => id));
    if (whole) forget(told, sessions);
    for (const id of gone) remove(id);
    for (const session of sessions) {
      const row = rows.get(session.id);
      if (row) fillRow(row, session);
      else waiting.set(session.id, session);
    }
    // However long the pointer rests in the list, at most as many sessions wait as can be shown.
    const excess = waiting.size > MOST_ROWS ? [...waiting.values()].sort((a, b) => (placeOf(a) < placeOf(b) ? 1 : -1)).slice(MOST_ROWS) : [];
    for (const { id } of excess) waiting.delete(id);
    if (isInUse()) settle();
    else showNew();
  }

  /** Remove rows that the server no longer has. It sent only the newest, so rows older than those stay. */
  function forget(told, sessions) {
    const last = sessions.length < wanted ? null : sessions.at(-1), since = last ? placeOf(last) : "";
    for (const [id, row] of [...rows]) if (row.at >= since && !told.has(id)) remove(id);
    for (const id of [...waiting.keys()]) if (!told.has(id)) waiting.delete(id);
  }

  function remove(id) {
    rows.get(id)?.remove();
    rows.delete(id);
    waiting.delete(id);
  }

  /** Put a session where it belongs: before the first row that is older. */
  function put(session, from) {
    const row = newRow(session);
    row.at = placeOf(session);
    let next = from;
    while (next && next.at > row.at) next = next.nextElementSibling;
    body.insertBefore(row, next);
    rows.set(session.id, row);
  }

  /** Whether rows must not move: the pointer or the focus is on them, or they are scrolled. */
  function isInUse() {
    return rows.size > 0 && (pointed || body.contains(document.activeElement) || scrollY > 0);
  }

  function showNew() {
    for (const session of waiting.values()) put(session, body.firstElementChild);
    waiting.clear();
    const excess = [...body.rows].slice(wanted);
    for (const row of excess) remove(row.dataset.id);
    hasOlder ||= excess.length > 0;
    settle();
  }

  function settle() {
    newButton.hidden = !waiting.size;
    newButton.textContent = `Show ${waiting.size}${waiting.size < MOST_ROWS ? "" : "+"} new`;
    moreButton.hidden = !hasOlder || rows.size >= MOST_ROWS;
    nothing.hidden = rows.size > 0 || !alert.hidden;
    table.hidden = !rows.size;
    document.title = `${waiting.size ? `(${waiting.size}) ` : ""}Sessions · sessiontape`;
  }

  function fail(text) {
    alert.textContent = text;
    alert.hidden = false;
    settle();
  }

  function askMore() {
    const last = body.lastElementChild;
    if (last && !moreButton.hidden) more(last.dataset.id);
  }

  /** Choose the row `by` from the one that is chosen. */
  function step(by) {
    const here = document.activeElement?.closest("tbody tr"), all = [...body.rows];
    const next = here ? all[all.indexOf(here) + by] : all[0];
    if (next) next.querySelector("a").focus();
    else if (by > 0) askMore();
  }

  // Not only the rows: new rows must not appear, and the button with them vanish, while the pointer moves to the button.
  main.addEventListener("pointerenter", () => { pointed = true; });
  main.addEventListener("pointerleave", () => {
    pointed = false;
    if (!isInUse()) showNew();
  });
  body.addEventListener("focusout", () => setTimeout(() => isInUse() || showNew()));
  addEventListener("scroll", () => scrollY === 0 && !isInUse() && showNew(), { passive: true });
  // A click anywhere in a row opens it, unless text is being selected.
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row && !event.target.closest("a") && getSelection().isCollapsed) row.querySelector("a").click();
  });
  newButton.addEventListener("click", () => {
    scrollTo(0, 0);
    showNew();
  });
  moreButton.addEventListener("click", askMore);
  onKey("j", () => step(1));
  onKey("k", () => step(-1));
  onKey("/", () => goToSearch(filters.search));
  onKey("Escape", () => {
    document.activeElement?.blur();
    if (!isInUse()) showNew();
  });

  replace(value);
  return { replace, add, change, fail, size: () => wanted };
}
