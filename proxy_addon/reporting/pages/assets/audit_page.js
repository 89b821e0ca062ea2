// An audit in one file: what devices send, of all sessions or of the group that was chosen, and in its place the page of a
// session that was opened. The address says which, so that back and forward work.
import { auditAddress, auditAddressed } from "./audit_address.js";
import { mountBaseline } from "./audit_baseline.js";
import { mountCoverage } from "./audit_coverage.js";
import { mountFindings } from "./audit_findings.js";
import { mountGroups } from "./audit_groups.js";
import { auditHead } from "./audit_head.js";
import { mountLosses } from "./audit_losses.js";
import { mountMetrics } from "./audit_metrics.js";
import { mountPlan } from "./audit_plan.js";
import { mountRhythm } from "./audit_rhythm.js";
import { groupName } from "./audit_words.js";
import { part } from "./embedded.js";
import { header } from "./family.js";
import { mountSession } from "./session.js";
import { count, cut, esc, plural } from "./words.js";

/** Of the value that this script draws. */
const FORM = 1, LONGEST_NAMED = 200;

mountAudit(document.getElementById("root"), await part("value"));

function mountAudit(root, page) {
  if (page.form !== FORM) {
    root.innerHTML = '<p class="none">Another version of sessiontape wrote this value; its own page shows it.</p>';
    return;
  }
  Object.setPrototypeOf(page.sessions, null); // no session is called toString
  const { audit, groups } = page, keys = keysOf(groups), wholes = new Map(), title = document.title;
  const context = { page, keys, group, chosen: null };
  const parts = [
    ["Groups", mountGroups, audit.by !== null],
    ["Findings", mountFindings, true],
    ["Tracking plan", mountPlan, audit.plan !== null],
    ["Baseline", mountBaseline, audit.baseline !== null],
    ["Losses", mountLosses, true],
    ["Coverage", mountCoverage, true],
    ["Rhythm", mountRhythm, true],
    ["Metrics", mountMetrics, true],
  ].filter(([, , isThere]) => isThere);
  root.innerHTML =
    '<div class="audit"><a class="skip" href="#all">Skip to the content</a>' +
    '<header class="top"><div></div><div class="verdict"></div><dl class="ident"></dl></header>' +
    `${notesMarkup(audit.notes)}<p class="astray" role="status"></p>` +
    `<div class="choice">${choiceMarkup(groups, keys)}<nav class="jumps" aria-label="Parts of this page">` +
    `${parts.map(([name]) => `<button type="button">${name}</button>`).join("")}</nav></div>` +
    `<main tabindex="-1">${parts.map(([name]) => `<section tabindex="-1" aria-label="${name}"></section>`).join("")}</main>` +
    `<footer>${esc(footWords(page))}</footer><div class="sr" aria-live="polite"></div></div><div class="one" hidden></div>`;
  const [overview, opened] = root.children, main = overview.querySelector("main");
  const select = overview.querySelector(".choice select"), spoken = overview.querySelector("[aria-live]");
  const shown = parts.map(([, mount], k) => mount(main.children[k], context));
  let asked = 0, mounted = null, mountedId = null, scrolled = 0, hadEvent = false;

  header(overview.querySelector(".top > div"), [{ text: "Audit" }]);
  overview.querySelector(".jumps").addEventListener("click", ({ target }) => {
    const at = [...target.parentElement.children].indexOf(target);
    if (!target.matches("button")) return;
    main.children[at].scrollIntoView();
    main.children[at].focus({ preventScroll: true });
  });
  overview.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  select?.addEventListener("change", () => {
    location.hash = auditAddress({ group: select.value === "" ? null : keys[Number(select.value)] });
  });

  // A whole group, null for all of them together.
  async function group(k) {
    if (k === null) return audit.all;
    if (!wholes.has(k)) wholes.set(k, part(`group-${k}`));
    return wholes.get(k);
  }

  async function follow() {
    const wanted = auditAddressed(), turn = ++asked, at = keys.indexOf(wanted.group), k = at < 0 ? null : at;
    if (wanted.session !== null && page.sessions[wanted.session]) {
      if (wanted.session === mountedId) {
        if (wanted.event !== null) mounted.choose?.(wanted.event);
        return;
      }
      const value = await part(`session-${page.sessions[wanted.session].part}`);
      if (turn === asked) open(wanted, value);
      return;
    }
    const found = context.chosen?.k === k ? null : await group(k);
    if (turn !== asked) return;
    if (mounted !== null) leave();
    overview.querySelector(".astray").textContent = astray(wanted, at);
    if (found) show(k, found);
  }

  // What the address names that is not here.
  function astray({ group: name, session }, at) {
    if (session !== null) return `The address names a session that is not on this page: ${cut(session, LONGEST_NAMED)}`;
    return name !== null && at < 0 ? `The address names a group that is not in this audit: ${cut(name, LONGEST_NAMED)}` : "";
  }

  function show(k, found) {
    const isFirst = context.chosen === null, name = k === null ? "All groups" : groupName(groups[k].name);
    context.chosen = { k, key: k === null ? null : keys[k], group: found };
    if (select) select.value = k === null ? "" : String(k);
    auditHead(overview.querySelector(".verdict"), overview.querySelector(".ident"), context);
    for (const each of shown) each.show();
    if (!isFirst) spoken.textContent = `${name}: ${count(found.sessions)} sessions`;
    document.title = k === null ? title : `${name} · ${title}`;
  }

  function open({ group: key, session: id, event }, value) {
    if (mounted === null) scrolled = scrollY;
    close();
    mountedId = id;
    overview.hidden = true;
    opened.hidden = false;
    scrollTo(0, 0);
    mounted = mountSession(opened, value, {
      loadTraffic: () => part(`traffic-${page.sessions[id].part}`),
      links: {
        name: "Audit",
        sessions: auditAddress({ group: key }),
        session: (other) => (page.sessions[other] ? auditAddress({ group: key, session: other }) : null),
        event: (number) => auditAddress({ group: key, session: id, event: number }),
      },
      isRaw: !page.pseudonymised,
      number: event,
    });
    document.title = `${value.session.media_name || value.session.media_id || id} · ${title}`;
  }

  function leave() {
    const left = mountedId;
    close();
    opened.hidden = true;
    overview.hidden = false;
    document.title = title;
    scrollTo(0, scrolled);
    const href = auditAddress({ group: context.chosen?.key ?? null, session: left });
    [...main.querySelectorAll("a")].find((each) => each.getAttribute("href") === href)?.focus({ preventScroll: true });
  }

  function close() {
    mounted?.destroy();
    mounted = mountedId = null;
    opened.replaceChildren();
  }

  // Escape closes an event first, which the session's page does, and then the session.
  addEventListener("keydown", () => {
    hadEvent = auditAddressed().event !== null;
  }, { capture: true });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || mounted === null || hadEvent || event.target.matches("input, textarea, select")) return;
    location.hash = auditAddress({ group: auditAddressed().group });
  });
  addEventListener("hashchange", follow);
  follow();
}

// What stands for each group in the address: its name, and a number if another one has the same.
function keysOf(groups) {
  const taken = new Set();
  return groups.map(({ name }) => {
    let key = name ?? "", number = 2;
    while (taken.has(key)) key = `${name ?? ""}~${number++}`;
    taken.add(key);
    return key;
  });
}

// What was not read of the files, what they lack, and what was found in several of them.
function notesMarkup(notes) {
  if (!notes.length) return "";
  return `<details class="notes"><summary>${plural(notes.length, "note")} on what was read</summary>` +
    `<ul>${notes.map(({ text, files, sessions }) => `<li>${esc(text)}${listMarkup([...files, ...sessions])}</li>`).join("")}</ul></details>`;
}

function listMarkup(names) {
  return names.length ? `<ul>${names.map((name) => `<li><bdi>${esc(name)}</bdi></li>`).join("")}</ul>` : "";
}

function choiceMarkup(groups, keys) {
  if (!groups.length) return "";
  return `<label>Group <select><option value="">all ${plural(groups.length, "group")}</option>${keys.map((_, k) =>
    `<option value="${k}">${esc(groupName(groups[k].name))} (${plural(groups[k].sessions, "session")})</option>`).join("")}</select></label>`;
}

function footWords({ audit, pseudonymised, sessions, to_look_at: named, version }) {
  const held = Object.keys(sessions).length, said = [`Made ${audit.made_at.slice(0, 16).replace("T", " ")} UTC by sessiontape ${version}.`];
  if (held < named) {
    said.push(`Of the ${count(named)} sessions to look at, the ${count(held)} worst are in this file; the others are named without a link.`);
  }
  said.push(pseudonymised
    ? "Tokens stand for personal values: the same value has the same token in the whole file."
    : "This file contains personal values as they were sent.");
  said.push("Metrics are an estimate of what reports will count.");
  return said.join(" ");
}
