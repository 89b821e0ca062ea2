// One session: verdict, identity, timeline, findings, what reports will count, events.
import { colours } from "./colours.js";
import { factsOf, isSameEvent, movedFrom } from "./facts.js";
import { goToSearch, header, onColours, onKey, onPrint } from "./family.js";
import { SEVERITIES } from "./icons.js";
import { fillMarks, legendMarkup } from "./legend.js";
import { Rail, uniqueId } from "./rail.js";
import { reportsMarkup } from "./reports.js";
import { EventTable } from "./table.js";
import { Timeline } from "./timeline.js";
import { endedWords, identity, verdictBar } from "./verdict_bar.js";
import { clock, cut, esc } from "./words.js";

const KEYS = "Drag to move, ctrl + wheel to zoom, or click the lanes and use the wheel. " +
  "Keys: ← → event, + − zoom, 0 all, f next finding, Enter details.";
/** The version of the values that this script draws. */
const FORM = 1;
const LIVE_EVERY_MS = 200, SLOWLY_MS = 500;
// Drawing live values takes at most one part in IDLE_SHARE of the time, even on a slow machine or in a long session.
const IDLE_SHARE = 5;
const KINDS = {
  next: "next on this device", previous: "previous on this device", retry_of: "a retry of", retried_by: "retried by",
  run: "replayed by run",
};

function skeleton(table, keys) {
  return `<a class="skip" href="#${table}">Skip to the events</a>` +
    '<header class="top"><div></div><div class="verdict"></div><dl class="ident"></dl>' +
    '<p class="raw small odd" hidden>This file contains personal values as they were sent.</p></header>' +
    '<main><section class="timeline" aria-label="Timeline"><div class="bar"><h2>Timeline</h2><div class="legend"></div>' +
    '<div class="tools" role="toolbar" aria-label="Zoom">' +
    '<button type="button" data-zoom="2" title="Zoom out (−)" aria-label="Zoom out">−</button>' +
    '<button type="button" data-zoom="0.5" title="Zoom in (+)" aria-label="Zoom in">+</button>' +
    '<button type="button" data-zoom="fit" title="Whole session (0)">Fit</button></div></div>' +
    `<div class="stage"></div><p class="hint" id="${keys}">${KEYS}</p>` +
    '<details class="explained"><summary>What the marks mean</summary><div class="marksof"></div></details>' +
    '<div class="sr" aria-live="polite"></div></section>' +
    '<aside class="rail" aria-label="Findings and the chosen event"></aside>' +
    '<section class="reports" aria-label="What reports will count"></section>' +
    `<section class="table" id="${table}" tabindex="-1" aria-label="Events"></section></main><footer></footer>`;
}

/**
 * Show a session in an empty element.
 *
 * `loadTraffic(seq)` returns a promise of the requests and answers, at least those of this exchange; it is called when an
 * event is opened whose exchange is not known yet. `links` says where things are: `{ sessions: href, session: (id) => href,
 * rule: (id) => href, event: (number) => href, compare: (id, id) => href }`; each may be missing, or return null for what has
 * no page. `event` is asked with null for the page without an event. `links.name` is what the page at `sessions` is called,
 * if it is not the list of sessions. `isLive` makes the present and the time to expiry go on between updates. `isRaw` says
 * whether the page is in a file with personal values. `number` is the event to begin with.
 *
 * Returns `update(value)`, which takes a new value and keeps view, choice and filters; `choose(number)`; and `destroy()`.
 */
export function mountSession(root, value, { loadTraffic, links = {}, isLive = false, isRaw = false, number = null }) {
  if (value.form !== FORM) return strange(root);
  const keys = uniqueId();
  root.classList.add("session");
  root.innerHTML = skeleton(uniqueId(), keys);
  const find = (selector) => root.querySelector(selector);
  const spoken = find("[aria-live]"), told = {}, [crumbs, verdict, ident] = find(".top").children;
  let facts = factsOf(value), chosen = null, receivedAt = performance.now(), drawsAgainAt = 0, slowly = 0, soon = 0, frame = 0, waiting = null;

  const timeline = new Timeline(find(".stage"), { choose: pick, enter: () => rail.focus() });
  const rail = new Rail(find(".rail"), { choose: pick, step, close: () => pick(-1), loadTraffic, links });
  const table = new EventTable(find(".table"), { choose: (i) => pick(i, { scroll: false }) });
  timeline.element.setAttribute("aria-describedby", keys);

  // Events from a position on have new numbers: find the chosen one again.
  function follow(before, from) {
    rail.forget(before.E.q[from]);
    const i = chosen === null ? -1 : before.numbers.get(chosen);
    if (i < from) return;
    const j = facts.order.events.find((each) => isSameEvent(before, i, facts, each));
    chosen = j === undefined ? null : facts.E.n[j];
    showAddress();
  }

  // An event is chosen by its number: positions may change with the next value.
  function pick(i, { scroll = true } = {}) {
    if (i === undefined) return;
    chosen = i < 0 ? null : facts.E.n[i];
    timeline.mark(i);
    rail.open(i);
    table.mark(i, { scroll });
    if (i >= 0) spoken.textContent = spokenOf(facts, i);
    showAddress();
  }

  // Browsers refuse to change an address too often, for example while a key is held: a later change catches up.
  function showAddress() {
    const href = links.event?.(chosen) ?? (chosen === null ? location.pathname + location.search : `#e${chosen}`);
    try {
      history.replaceState(history.state, "", href);
    } catch {
      // refused
    }
  }

  function position() {
    return chosen === null ? -1 : facts.numbers.get(chosen) ?? -1;
  }

  function step(by) {
    const at = facts.position[position()] + by;
    pick(facts.order.events[Math.max(0, Math.min(facts.size - 1, at))]);
  }

  // Errors and warnings, or notes if there is nothing worse.
  function nextFinding() {
    const grave = facts.flags.filter(({ severity }) => SEVERITIES[severity] !== "info");
    const events = (grave.length ? grave : facts.flags).map(({ i }) => i).sort((a, b) => facts.position[a] - facts.position[b]);
    const here = position() < 0 ? -1 : facts.position[position()];
    pick(events.find((i) => facts.position[i] > here) ?? events[0]);
  }

  // Fill an element if what it shows has changed.
  function fill(selector, markup) {
    if (told[selector] === markup) return;
    told[selector] = markup;
    find(selector).innerHTML = markup;
  }

  function drawCrumbs() {
    const { session, links: others } = facts.value, key = JSON.stringify([session.id, others]);
    if (told.crumbs === key) return;
    told.crumbs = key;
    const steps = [{ text: links.name ?? "Sessions", href: links.sessions }, { text: session.id, mono: true }];
    const more = header(crumbs, steps, links.sessions === "/");
    more.innerHTML = others.map(([kind, id]) => {
      const href = kind === "run" ? links.run?.(id, session.id) : links.session?.(id);
      const name = `<span class="mono">${esc(cut(id.split("#").at(-1), 18))}</span>`;
      const beside = kind === "previous" ? links.compare?.(id, session.id) : null;
      return `<span>${KINDS[kind] ?? esc(kind)} ${href ? `<a href="${esc(href)}">${name}</a>` : name}` +
        `${beside ? ` <a href="${esc(beside)}">compare</a>` : ""}</span>`;
    }).join("");
  }

  function drawHead() {
    const { made_at: madeAt, session: { recording, pseudonymised } } = facts.value;
    drawCrumbs();
    verdictBar(verdict, facts.value);
    identity(ident, facts.value);
    find(".raw").hidden = !isRaw || pseudonymised;
    const source = recording ? ` from the recording “${cut(recording, 80)}”` : "";
    const tokens = pseudonymised ? "Tokens stand for personal values. " : "";
    find("footer").textContent = `Made ${madeAt.slice(0, 19).replace("T", " ")} UTC by sessiontape${source}. ${tokens}` +
      "Times are by the device's clock unless stated otherwise. What reports will count is an estimate.";
  }

  // The table and the estimate are read rather than watched, so they may lag.
  function drawSlowly() {
    clearTimeout(slowly);
    slowly = 0;
    const beganAt = performance.now();
    fill(".reports", reportsMarkup(facts));
    table.update(facts, position());
    restAfter(beganAt);
  }

  // Pause live drawing, longer if drawing since `beganAt` took long. The timeout lets the browser lay out what was drawn first.
  function restAfter(beganAt) {
    drawsAgainAt = Math.max(drawsAgainAt, beganAt + LIVE_EVERY_MS);
    setTimeout(() => {
      const now = performance.now();
      drawsAgainAt = Math.max(drawsAgainAt, now + (IDLE_SHARE - 1) * (now - beganAt));
    });
  }

  function draw() {
    drawHead();
    fill(".legend", legendMarkup(facts));
    timeline.update(facts, position());
    rail.update(facts, position());
    if (find(".explained").open) drawMarks();
  }

  // Folds tell late that they were opened, perhaps when all of this is gone.
  const marks = find(".marksof");
  function drawMarks() {
    fillMarks(marks, facts, colours());
  }

  // However fast values come, five updates a second are enough for a reader and cheap for the machine. Only the newest value
  // is drawn, and none while the page is hidden.
  function update(next) {
    waiting = next;
    receivedAt = performance.now();
    soon ||= setTimeout(drawInTime, Math.max(0, drawsAgainAt - receivedAt));
  }

  function drawInTime() {
    const left = drawsAgainAt - performance.now();
    if (left > 0) soon = setTimeout(drawInTime, left);
    else frame = requestAnimationFrame(drawNewest);
  }

  function drawNewest() {
    soon = frame = 0;
    const beganAt = performance.now();
    if (waiting.form !== FORM) {
      destroy();
      strange(root);
      return;
    }
    const before = facts, from = movedFrom(before, facts = factsOf(waiting));
    const hasMoved = from < before.size;
    if (hasMoved) follow(before, from);
    draw();
    restAfter(beganAt);
    if (hasMoved) drawSlowly(); // the rows of the table would name other events
    else slowly ||= setTimeout(drawSlowly, SLOWLY_MS);
  }

  function goOn() {
    const { now_s: now, verdict } = facts.value;
    if (now === null) return;
    const passed = (performance.now() - receivedAt) / 1000;
    timeline.moveNow(now + passed);
    const ended = find(".ended .how");
    if (ended) ended.textContent = endedWords(verdict, facts.value.made_at, passed);
  }

  // The address may belong to a page that has this one inside, so the link does not change it.
  find(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    find(".table").focus();
  });
  find(".tools").addEventListener("click", ({ target: { dataset: { zoom } } }) => {
    if (zoom === "fit") timeline.fit();
    else if (zoom) timeline.zoom(Number(zoom));
  });
  find(".explained").addEventListener("toggle", drawMarks);

  // Paper cannot be opened or moved: all that is folded but small is opened, and all of the session is shown.
  function preparePaper() {
    const folds = [...root.querySelectorAll(".explained:not([open]), .notes:not([open])")], takeAway = timeline.drawOnPaper();
    for (const fold of folds) fold.open = true;
    drawMarks();
    table.finish();
    return () => {
      for (const fold of folds) fold.open = false;
      takeAway();
      drawMarks();
    };
  }

  const clockwork = isLive ? setInterval(goOn, 1000) : 0;
  const undo = [
    onColours(() => { if (find(".explained").open) drawMarks(); }),
    onPrint(preparePaper),
    onKey("j", () => pick(table.after(1))),
    onKey("k", () => pick(table.after(-1))),
    onKey("f", nextFinding),
    onKey("/", () => goToSearch(table.search)),
    onKey("Escape", () => pick(-1)),
  ];

  draw();
  document.documentElement.dataset.drawnMs = String(Math.round(performance.now() - receivedAt));
  drawSlowly();
  if (number !== null && facts.numbers.has(number)) pick(facts.numbers.get(number), { scroll: false });

  function destroy() {
    clearTimeout(slowly);
    clearTimeout(soon);
    cancelAnimationFrame(frame);
    clearInterval(clockwork);
    for (const each of undo) each();
    timeline.destroy();
    root.classList.remove("session");
    root.replaceChildren();
  }

  return { update, destroy, choose: (wanted) => pick(facts.numbers.get(wanted)) };
}

// The server may have been updated while a page was open.
function strange(root) {
  root.innerHTML = '<p class="none">This page and its data come from different versions of sessiontape. Load the page again.</p>';
  return { update() {}, choose() {}, destroy: () => root.replaceChildren() };
}

function spokenOf(facts, i) {
  const { E } = facts, found = E.f[i].map((index) => facts.message(index, i)).join("; ");
  const answer = E.s[i] ? `answered ${E.s[i]}` : "not answered";
  return `Event ${E.n[i]}, ${facts.type(i)}, at ${clock(E.t[i], 1)}, ${answer}${found && `. ${cut(found, 300)}`}`;
}
