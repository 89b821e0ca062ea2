// Which keys are sent on which events, as a matrix: the share of the events that have a key. The card beside a cell says which
// values were seen.
import { walkable } from "./audit_grid.js";
import { figure, partOf, percents, strength } from "./audit_words.js";
import { onPrint } from "./family.js";
import { count, cut, esc, plural } from "./words.js";

const SECTIONS = ["params", "qoeData", "customMetadata"];
const FIRST_ROWS = 300, MOST_UNSCROLLED = 40, NEVER_TOLD = 12, LONGEST_KEY = 80, LONGEST_EXAMPLE = 120, CARD_GAP = 12;
const SIGNS = { miss: "✕", never: "·" };
const LEGEND = [
  ["miss", SIGNS.miss, "required, and never sent"], ["due", "%", "required, and not always sent"],
  ["odd", "%", "unknown to the protocol"], ["never", SIGNS.never, "known, and never sent"],
];

/** Show the keys in an empty element; `show()` draws those of the group that is chosen. */
export function mountCoverage(root, context) {
  const required = new Map(Object.entries(context.page.required).map(([event, keys]) => [event, new Set(keys)]));
  const wanted = { text: "", isOdd: false, most: FIRST_ROWS };
  let cells = new Map(), rows = [];

  root.innerHTML =
    '<div class="sech"><h2>Coverage</h2><p>Numbers are percent of the events of a type that have the key.</p><span class="space"></span>' +
    '<label><input type="checkbox"> only what is missing or unknown</label>' +
    '<input type="search" aria-label="Search the keys" placeholder="Search keys"></div>' +
    `<p class="legend">${LEGEND.map(([kind, sign, words]) => `<span><i class="cell ${kind}">${sign}</i> ${words}</span>`).join("")}</p>` +
    '<div class="box"></div><div class="rest"></div><div class="tell" role="status" hidden></div>';
  const [, legend, box, rest, card] = root.children;

  root.querySelector(".sech").addEventListener("input", ({ target }) => {
    if (target.type === "checkbox") draw({ isOdd: target.checked, most: FIRST_ROWS });
    else draw({ text: target.value.trim().toLowerCase(), most: FIRST_ROWS });
  });
  box.addEventListener("click", ({ target }) => {
    if (target.closest(".further")) draw({ most: Infinity });
  });

  function draw(change = {}) {
    Object.assign(wanted, change);
    card.hidden = true;
    const { group } = context.chosen, events = Object.keys(group.event_types);
    legend.hidden = !events.length;
    if (!events.length) {
      box.innerHTML = '<p class="none">No events were sent.</p>';
      rest.innerHTML = "";
      return;
    }
    const all = rowsOf(group), passing = all.filter((row) => row.isShown && isWanted(row));
    rows = passing.slice(0, wanted.most);
    const left = passing.length - rows.length;
    box.innerHTML = rows.length ? tableMarkup(events, group) : '<p class="none">No key matches.</p>';
    if (left) box.insertAdjacentHTML("beforeend", `<p class="further"><button type="button">Show ${count(left)} more keys</button></p>`);
    rest.innerHTML = restMarkup(all.filter((row) => !row.isShown), group);
    const table = box.querySelector("table");
    if (table) walkable(table, { look }).restart();
  }

  function tableMarkup(events, group) {
    const heads = events.map((event) => {
      const title = `${event}, ${plural(group.event_types[event], "event")}`;
      return `<th scope="col" tabindex="-1" title="${esc(title)}"><span>${esc(event)}</span></th>`;
    });
    return `<div class="wide${rows.length > MOST_UNSCROLLED ? " tall" : ""}" role="region" aria-label="Keys by event">` +
      '<table class="matrix coverage many" role="grid" aria-label="Keys"><thead><tr><th scope="col" tabindex="-1" class="head">Key</th>' +
      `${heads.join("")}</tr></thead><tbody>${rows.map((row) => rowMarkup(row, events)).join("")}</tbody></table></div>`;
  }

  // A row for each key, with a cell for each event that has or could have it.
  function rowsOf(group) {
    const found = new Map();
    cells = new Map();
    const add = (section, key, event, cell) => {
      const name = `${section}/${key}`;
      if (!found.has(name)) found.set(name, { name, section, key, isShown: false, isOdd: false });
      const row = found.get(name);
      row.isShown ||= cell.kind !== "never";
      row.isOdd ||= ["miss", "due", "odd"].includes(cell.kind);
      if (event) cells.set(`${name}\n${event}`, cell);
    };
    for (const seen of group.keys) {
      const isDue = required.get(seen.event)?.has(`${seen.section}/${seen.key}`) && seen.sent < seen.of;
      add(seen.section, seen.key, seen.event, { kind: isDue ? "due" : seen.is_known ? "sent" : "odd", seen });
    }
    for (const absent of group.absent) add(absent.section, absent.key, absent.event, { kind: absent.is_required ? "miss" : "never" });
    return [...found.values()].sort((a, b) => SECTIONS.indexOf(a.section) - SECTIONS.indexOf(b.section) || (a.key < b.key ? -1 : 1));
  }

  function isWanted({ name, isOdd }) {
    return name.toLowerCase().includes(wanted.text) && (!wanted.isOdd || isOdd);
  }

  function rowMarkup({ name, section, key }, events) {
    const found = events.map((event) => {
      const { kind = "", seen } = cells.get(`${name}\n${event}`) ?? {}, share = seen?.share ?? 0;
      return `<td tabindex="-1" class="cell ${kind} t${strength(share)}">${seen ? percents(share) : SIGNS[kind] ?? ""}</td>`;
    });
    const where = section === SECTIONS[0] ? "" : ` <code>${section}</code>`;
    return `<tr><th scope="row" tabindex="-1" class="head" title="${esc(cut(name, LONGEST_EXAMPLE))}">` +
      `<span><bdi>${esc(cut(key, LONGEST_KEY)).replaceAll(".", ".<wbr>")}</bdi>${where}</span></th>${found.join("")}</tr>`;
  }

  function look(cell) {
    const { group } = context.chosen, event = cell && Object.keys(group.event_types)[cell.cellIndex - 1];
    const row = cell?.closest("tbody tr") && rows[cell.parentElement.sectionRowIndex], found = row && cells.get(`${row.name}\n${event}`);
    card.hidden = !found;
    if (!found) return;
    card.innerHTML = cardMarkup(row, event, found, group);
    const { left, bottom, top } = cell.getBoundingClientRect(), { offsetWidth: width, offsetHeight: height } = card;
    card.style.left = `${Math.max(CARD_GAP, Math.min(left, innerWidth - width - CARD_GAP))}px`;
    card.style.top = `${bottom + height + CARD_GAP < innerHeight ? bottom + 4 : Math.max(CARD_GAP, top - height - 4)}px`;
  }

  // Paper has no button for more.
  onPrint(() => {
    const { most } = wanted;
    if (rows.length < most) return () => {};
    draw({ most: Infinity });
    return () => draw({ most });
  });
  return { show: () => draw({ most: FIRST_ROWS }) };
}

function cardMarkup({ section, key }, event, { kind, seen }, group) {
  const head = `<p><b><bdi>${esc(cut(key, LONGEST_KEY))}</bdi></b> in ${section} on <b>${esc(event)}</b></p>`;
  if (!seen) {
    const words = kind === "miss" ? "The protocol requires it here, and nobody sends it." : "The protocol knows it here; nobody sends it.";
    return `${head}<p class="${kind === "miss" ? "bad" : "dim"}">${words}</p><p class="dim">${plural(group.event_types[event], "event")}</p>`;
  }
  const types = Object.entries(seen.types).map(([type, times]) => `${type} ${count(times)}`).join(", ");
  const facts = [["types", esc(types)], ["distinct values", `${seen.distinct_is_exact ? "" : "about "}${count(seen.distinct)}`]];
  if (seen.lowest !== null) facts.push(["range", esc(`${figure(seen.lowest, 3)} to ${figure(seen.highest, 3)}`)]);
  facts.push(["examples", seen.examples.map(exampleMarkup).join("<br>")]);
  return `${head}<p>${partOf(seen.sent, seen.of)} events</p>${NOTES[kind] ?? ""}` +
    `<dl>${facts.map(([name, markup]) => `<dt>${name}</dt><dd>${markup}</dd>`).join("")}</dl>`;
}

const NOTES = {
  due: '<p class="bad">The protocol requires it on all of them.</p>',
  odd: '<p class="odd">The protocol does not know it here.</p>',
};

function exampleMarkup({ type, text, count: times }) {
  const shown = cut(type === "string" ? `"${text}"` : text, LONGEST_EXAMPLE);
  return `<code><bdi>${esc(shown)}</bdi></code> <span class="dim">${count(times)}×</span>`;
}

function restMarkup(rows, { unknown_types: types, keys_are_complete: isComplete }) {
  const names = [...new Set(rows.map((row) => row.key))], said = [];
  const list = (some) => some.map((name) => `<code>${esc(name)}</code>`).join(", ");
  if (names.length > NEVER_TOLD) {
    said.push(`<details><summary>Known to the protocol, and never sent: ${plural(names.length, "key")}</summary><p>${list(names)}</p></details>`);
  }
  if (names.length && names.length <= NEVER_TOLD) said.push(`<p class="dim">Known to the protocol, and never sent: ${list(names)}</p>`);
  if (types.length) {
    said.push(`<p class="odd">Types of events that the protocol does not know: ${types.map((each) =>
      `<code><bdi>${esc(cut(each.text, LONGEST_KEY))}</bdi></code> ${count(each.count)}×`).join(", ")}</p>`);
  }
  if (!isComplete) said.push('<p class="odd">Devices make up names of keys, and not all of them were kept.</p>');
  return said.join("");
}
