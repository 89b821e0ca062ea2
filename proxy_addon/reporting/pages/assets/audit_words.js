// Shares, moments and sessions, as all parts of an audit's page say them.
import { auditAddress } from "./audit_address.js";
import { VERDICTS, icon } from "./icons.js";
import { count, cut, esc, plural } from "./words.js";

const LONGEST_NAME = 120, LONGEST_FOUND = 300, SHORT_NAME = 22, LEAST_SHARED = 8, NOT_SENT = "(not sent)";

/** A share as a whole percentage without its sign; some is never "0", and not all is never "100". */
export function percents(share) {
  if (share <= 0) return "";
  if (share < 0.01) return "<1";
  return share < 1 && share >= 0.995 ? ">99" : String(Math.round(share * 100));
}

/** A share with its sign. */
export function percent(share) {
  return `${percents(share) || "0"} %`;
}

/** A number with at most so many decimals; one of so many digits that a script does not know the last ones as a power of ten. */
export function figure(value, decimals) {
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER ? value.toLocaleString("en", { maximumFractionDigits: decimals }) : value.toExponential(2);
}

/** A part of a whole, with its share. */
export function partOf(part, whole) {
  return `${count(part)} of ${count(whole)} (${percent(whole ? part / whole : 0)})`;
}

/** How many sessions something is without, as not all of them is known; empty for none. */
export function leftOutMarkup(number, of) {
  return number ? `<p class="dim">${of}: without ${plural(number, "session")} of which requests or bodies are not known.</p>` : "";
}

/** How strong the tint of a share is, from 1 to 5; 0 for none. */
export function strength(share) {
  return share <= 0 ? 0 : Math.min(5, 1 + Math.floor(share * 5));
}

/** A moment to the minute, in UTC. */
export function moment(iso) {
  return iso ? iso.slice(0, 16).replace("T", " ") : "–";
}

/** When the first and the last of some sessions began, once if that is the same minute. */
export function began(first, last) {
  const [from, to] = [moment(first), moment(last)];
  return from === to ? `began at ${from} UTC` : `began from ${from} to ${to} UTC`;
}

/** The name of a group; sessions that do not say theirs are one, too. */
export function groupName(name) {
  return name === null ? NOT_SENT : cut(name, LONGEST_NAME);
}

// How a long name is cut: in the middle, before its end, behind its beginning, or around where the most similar one differs.
const CUTS = [
  (name) => [...name.slice(0, SHORT_NAME / 2), "…", ...name.slice(1 - SHORT_NAME / 2)],
  (name) => ["…", ...name.slice(1 - SHORT_NAME)],
  (name) => [...name.slice(0, SHORT_NAME - 1), "…"],
  (name, differs) => ["…", ...name.slice(Math.max(0, differs - SHORT_NAME / 2)).slice(0, SHORT_NAME - 2), "…"],
];

/** Short names of groups for narrow columns, no two the same: without the beginning that all share, and cut where they do not differ. */
export function shortNames(names) {
  const all = names.map((name) => name ?? NOT_SENT), shared = all.length > 1 ? sharedBeginning(all) : 0, from = shared < LEAST_SHARED ? 0 : shared;
  const spelt = all.map((name) => [...(from ? `…${name.slice(from)}` : name)]), differs = differences(spelt), taken = new Set();
  const ways = CUTS.map((way) => spelt.map((name, k) => (name.length > SHORT_NAME ? way(name, differs[k]) : name).join("")));
  const numbers = ways.map((some) => some.reduce((found, name) => found.set(name, (found.get(name) ?? 0) + 1), new Map()));
  return spelt.map((_, k) => {
    const name = ways.find((some, way) => numbers[way].get(some[k]) === 1)?.[k] ?? ways[0][k];
    const short = taken.has(name) ? `${name} ${k + 1}` : name;
    taken.add(short);
    return short;
  });
}

// How many characters each name has in common with the most similar one, which is beside it if they are sorted.
function differences(spelt) {
  const order = spelt.map((name, k) => [name.join(""), k]).sort(([a], [b]) => (a < b ? -1 : 1)).map(([, k]) => k), found = spelt.map(() => 0);
  for (let at = 1; at < order.length; at += 1) {
    const [a, b] = [spelt[order[at - 1]], spelt[order[at]]], end = a.findIndex((character, k) => character !== b[k]), same = end < 0 ? a.length : end;
    for (const k of [order[at - 1], order[at]]) found[k] = Math.max(found[k], same);
  }
  return found;
}

function sharedBeginning([first, ...others]) {
  let length = first.length;
  for (const other of others) while (!other.startsWith(first.slice(0, length))) length -= 1;
  return first.slice(0, length).search(/[^\s;()]*$/); // whole words alone
}

// A session: a link to its page if the file has it, else its id.
function sessionLink(id, { page, chosen }) {
  const known = page.sessions[id], mono = `<span class="mono">${esc(id)}</span>`;
  if (!known) return `<span class="away" title="not on this page: sessiontape show ${esc(pasted(id))}">${mono}</span>`;
  const title = known.name ? ` title="${esc(cut(known.name, LONGEST_NAME))}"` : "";
  return `<a href="${esc(auditAddress({ group: chosen.key, session: id }))}"${title}>${mono}</a>`;
}

// A name as a shell takes it: sessions in files are named FILE#ID.
function pasted(name) {
  return /^[\w@%+=:,./-][\w@%+=:,./#-]*$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
}

/** Sessions to look at in a line, each once. */
export function sessionLinks(ids, context) {
  return [...new Set(ids)].map((id) => sessionLink(id, context)).join(" ");
}

/** Sessions to look at as a list, each with what a rule found in it. */
export function sessionList(ids, context, rule) {
  return `<ul class="lookat">${[...new Set(ids)].map((id) => {
    const known = context.page.sessions[id];
    if (!known) return `<li>${sessionLink(id, context)} <span class="dim">not on this page</span></li>`;
    const [word, sign] = VERDICTS[known.level];
    const name = known.name ? `<bdi>${esc(cut(known.name, LONGEST_NAME))}</bdi> ` : "";
    const found = esc(cut(known.messages[rule] ?? known.headline, LONGEST_FOUND));
    return `<li>${icon(sign, word)} ${sessionLink(id, context)} ${name}<span class="dim">${found}</span></li>`;
  }).join("")}</ul>`;
}
