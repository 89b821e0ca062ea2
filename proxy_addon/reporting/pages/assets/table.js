// All events as a table: the same data as the lanes, in three orders, with filters.
import { STATES, stateWords, wrongClock } from "./facts.js";
import { SEVERITIES, icon } from "./icons.js";
import { clock, cut, esc, ms, plural, signed } from "./words.js";

const FOLD_ABOVE = 150, SHORTEST_RUN = 3, FIRST_PIECE = 60, PIECE = 250, ROW_PX = 25, NAME = 160, LATE_S = 15;
const COLUMNS = [
  ["#", "n"], ["device", "n"], ["Δ", "n wide delta", "since the event above, in seconds"], ["on the way", "n wide"], ["playhead", "n"],
  ["Δ", "n wide delta", "of the playhead, in seconds"], ["event", ""], ["state after", "wide"], ["answer", ""], ["found", ""],
];
const CHOICES = [
  ["pings", "Pings", [["show", "show"], ["fold", "fold"], ["hide", "hide"]]],
  ["order", "Order", [["order", "device"], ["byArrival", "arrival"], ["asTaken", "as taken"]]],
];

/** The table in an empty element; `choose(i)` is called for an event that was clicked. */
export class EventTable {
  #chosen = -1;
  #drawn = [];
  #facts = null;
  #job = 0;
  #isHurried = false;
  #list = [];
  #more = () => {};
  #only = false;
  #open = new Set();
  #rows = [];
  #set = { pings: null, order: "order" };
  #text = "";

  constructor(root, { choose }) {
    root.innerHTML =
      '<div class="sech"><h2>Events</h2><p class="shown"></p><p class="keys">j and k move, / filters.</p></div><div class="filter">' +
      '<input type="search" placeholder="Filter: type, name, status" aria-label="Filter events">' +
      CHOICES.map(([key, label, options]) => `<span class="seg" role="group" aria-label="${label}">${label}${options.map(([value, word]) =>
        `<button type="button" data-set="${key}" data-to="${value}">${word}</button>`).join("")}</span>`).join("") +
      '<label><input type="checkbox"> only with findings</label></div>' +
      '<div class="grid" role="table" aria-label="Events"><div role="rowgroup"><div class="row head" role="row">' +
      COLUMNS.map(([name, kind, title = ""]) => `<span role="columnheader" class="${kind}"${title && ` title="${title}"`}>${name}</span>`).join("") +
      '</div></div><div class="rows" role="rowgroup"></div></div>';
    this.root = root;
    this.box = root.querySelector(".rows");
    this.search = root.querySelector("input[type=search]");
    this.search.addEventListener("input", () => {
      this.#text = this.search.value.toLowerCase();
      this.#fill();
    });
    root.querySelector("input[type=checkbox]").addEventListener("change", (event) => {
      this.#only = event.target.checked;
      this.#fill();
    });
    root.querySelector(".filter").addEventListener("click", (event) => {
      const { set, to } = event.target.dataset;
      if (!set) return;
      this.#set[set] = to;
      this.#fill();
    });
    this.box.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (!row) return;
      if (row.dataset.fold) this.#unfold(Number(row.dataset.fold));
      else choose(this.#facts.numbers.get(Number(row.dataset.n)));
    });
  }

  /** Show a new value, with filters as they are; the chosen event may have another position. */
  update(facts, chosen) {
    this.#facts = facts;
    this.#chosen = chosen;
    this.#set.pings ??= facts.size > FOLD_ABOVE ? "fold" : "show";
    this.#fill();
  }

  /** Mark an event, -1 for none; a folded run that has it opens. */
  mark(i, { scroll = true } = {}) {
    this.#chosen = i;
    this.box.querySelector(".on")?.classList.remove("on");
    if (i < 0) return;
    const run = this.#rows.find((row) => row.run?.includes(i));
    if (run) {
      this.#unfold(this.#facts.E.n[run.run[0]]);
      return;
    }
    const row = this.box.querySelector(`[data-n="${this.#facts.E.n[i]}"]`);
    row?.classList.add("on");
    // The table scrolls only while it is in view.
    if (row && scroll && this.root.getBoundingClientRect().top < innerHeight - 80) row.scrollIntoView({ block: "nearest" });
  }

  /** The event some rows below the chosen one; undefined if there is none. */
  after(by) {
    const events = this.#rows.flatMap((row) => (row.run ? [] : [row.i])), at = events.indexOf(this.#chosen);
    return events[at < 0 ? 0 : Math.max(0, Math.min(events.length - 1, at + by))];
  }

  /** Draw at once the rows that wait for the browser to have nothing else to do. */
  finish() {
    this.#isHurried = true;
    this.#more();
    this.#isHurried = false;
  }

  #unfold(number) {
    this.#open.add(number);
    this.#fill();
  }

  #fill() {
    for (const button of this.root.querySelectorAll("[data-set]")) {
      button.setAttribute("aria-pressed", String(this.#set[button.dataset.set] === button.dataset.to));
    }
    const { order } = this.#set, facts = this.#facts;
    this.#list = order === "order" ? facts.order.events : facts[order];
    this.#rows = [...this.#visible()];
    this.root.querySelector(".shown").textContent = `${plural(facts.size, "event")}, ${plural(this.#rows.length, "row")}.`;
    this.#draw();
  }

  // Rows as `{ i, k }`, runs of plain pings as `{ run, k }`; `k` is the position in the list.
  *#visible() {
    const list = this.#list, { pings } = this.#set, isSearched = this.#text || this.#only;
    for (let k = 0; k < list.length; k++) {
      const i = list[k];
      if (!this.#isWanted(i)) continue;
      if (isSearched || pings === "show" || !this.#isPlain(i)) {
        yield { i, k };
        continue;
      }
      if (pings === "hide") continue;
      let end = k;
      while (end < list.length && this.#isPlain(list[end])) end++;
      if (end - k >= SHORTEST_RUN && !this.#open.has(this.#facts.E.n[i])) yield { run: list.slice(k, end), k };
      else for (let at = k; at < end; at++) yield { i: list[at], k: at };
      k = end - 1;
    }
  }

  #isWanted(i) {
    const { E, type, name } = this.#facts;
    if (this.#only && !E.f[i].length) return false;
    return !this.#text || `${type(i)} ${name(i)} ${E.s[i] || "none"} #${E.n[i]} ${E.st[i]}`.toLowerCase().includes(this.#text);
  }

  #isPlain(i) {
    const { E, type, isRefused, endsSilence } = this.#facts;
    return type(i) === "ping" && !isRefused(i) && !E.f[i].length && !endsSilence.has(E.n[i]);
  }

  // Redraws from the first changed row on: the first rows at once, the others while the browser is idle.
  #draw() {
    const markup = this.#rows.map((row) => (row.run ? this.#runMarkup(row) : this.#rowMarkup(row)));
    let same = 0, at = 0, isKept = true;
    while (same < markup.length && same < this.#drawn.length && markup[same] === this.#drawn[same]) same++;
    const job = ++this.#job;
    for (const chunk of [...this.box.children]) {
      const rows = chunk.childElementCount, isFull = rows === (at ? PIECE : FIRST_PIECE);
      isKept &&= isFull && at + rows <= same;
      if (isKept) at += rows;
      else chunk.remove();
    }
    this.#drawn = markup.slice(0, at);
    const more = () => {
      if (job !== this.#job) return;
      if (at === markup.length) {
        this.mark(this.#chosen, { scroll: false });
        return;
      }
      const until = Math.min(markup.length, at + (at ? PIECE : FIRST_PIECE)), piece = markup.slice(at, until);
      const chunk = document.createElement("div");
      chunk.className = "chunk";
      chunk.setAttribute("role", "presentation");
      chunk.style.containIntrinsicSize = `auto ${ROW_PX * piece.length}px`;
      chunk.innerHTML = piece.join("");
      this.box.append(chunk);
      this.#drawn.push(...piece);
      at = until;
      if (at < markup.length && !this.#isHurried) idle(more);
      else more();
    };
    this.#more = more;
    more();
  }

  #runMarkup({ run }) {
    const { E } = this.#facts, first = run[0], last = run.at(-1), every = Math.abs(E.t[last] - E.t[first]) / (run.length - 1);
    const words = `▸ ${run.length} pings, every ${every.toFixed(1)} s${headWords(E.p[first], E.p[last])}`;
    const cells = [
      cell("n", `${E.n[first]}–`), cell("n", clock(E.t[first], 1)), cell("wide delta", ""), cell("wide", ""),
      cell("n", E.p[first] == null ? "–" : clock(E.p[first])), cell("wide delta", ""),
      `<span role="cell" class="span" aria-colspan="4"><button type="button">${words}</button></span>`,
    ];
    return `<div class="row fold" role="row" data-fold="${E.n[first]}">${cells.join("")}</div>`;
  }

  #rowMarkup({ i, k }) {
    const { E, type, name, isRefused, severity, state, value, why } = this.#facts, above = this.#list[k - 1];
    const since = above === undefined ? null : E.t[i] - E.t[above], way = E.a[i] - E.t[i];
    const moved = above === undefined || E.p[i] == null || E.p[above] == null ? null : E.p[i] - E.p[above];
    const hasJumped = moved !== null && (moved < -1 || moved > 2 * since + 1.5), tone = (isOdd) => `n wide ${isOdd ? "odd" : "dim"}`;
    const worst = SEVERITIES[severity(i)], signs = new Set(E.f[i].map((index) => value.findings[index].severity));
    const cells = [
      cell("n dim", E.n[i]),
      E.w[i] === null ? cell("n", clock(E.t[i], 3)) : `<span role="cell" class="n odd" title="${wrongClock(this.#facts, i)}">wrong</span>`,
      cell(`${tone(since > LATE_S || since < 0)} delta`, since === null ? "" : since.toFixed(Math.abs(since) < 10 ? 3 : 1).replace("-", "−")),
      cell(tone(way > 1), wayWords(way)),
      cell("n", E.p[i] == null ? "–" : clock(E.p[i], 1)),
      cell(`${tone(hasJumped)} delta`, moved === null || Math.abs(moved) < 0.05 ? "" : signed(moved, 1)),
      cell("", `<span class="type"><bdi>${esc(cut(type(i), NAME))}</bdi></span> <bdi class="dim">${esc(cut(name(i), NAME))}</bdi>`),
      cell("wide", `<i class="dot c-${state(i) in STATES ? state(i) : "starting"}"></i>` +
        `<span${why(i) && ` title="${esc(why(i))}"`}>${esc(stateWords(E.st[i]))}</span>`),
      cell(isRefused(i) ? "bad" : "dim", `<b>${E.s[i] || "none"}</b> ${ms(E.d[i])}`),
      cell("signs", [...signs].map((each) => icon(each)).join("")),
    ];
    const kinds = `row${type(i) === "ping" ? " ping" : ""}${worst ? ` s-${worst}` : ""}`;
    return `<div class="${kinds}" role="row" data-n="${E.n[i]}">${cells.join("")}</div>`;
  }
}

function headWords(from, to) {
  if (from == null || to == null) return "";
  return to === from ? ", playhead still" : `, playhead to ${clock(to)}`;
}

// Slightly below zero is noise of the clocks, not an arrival before the event.
function wayWords(way) {
  if (way > 1) return `${way.toFixed(1)} s`;
  return `${Math.round((way > -0.05 ? Math.max(0, way) : way) * 1000)} ms`.replace("-", "−");
}

function cell(kind, markup) {
  return `<span role="cell" class="${kind}">${markup}</span>`;
}

function idle(work) {
  if (window.requestIdleCallback) requestIdleCallback(work, { timeout: 200 });
  else setTimeout(work);
}
