// The events of two sessions in rows: runs of equal events are folded, and differing values stand side by side, the changed
// part marked.
import { clock, count, cut, esc, plural } from "./words.js";

const SHORTEST_FOLD = 3;
const PIECE = 200;
const SAID = { changed: "differs", moved: "moved", "only-a": "only in", "only-b": "only in" };

/**
 * Fill an element with the table of a comparison.
 *
 * `onPick(row)` is called when a row is chosen. Returns `pick(row, scroll)`, `isSeen(row)`, `told(row)`, `find()` and
 * `finish()`, which draws at once the rows that would follow.
 */
export function comparisonTable(box, value, { onPick }) {
  const sides = value.sides.map(sideOfTable);
  const names = value.sides.map((side) => side.label);
  let unfolded = new Set(), wanted = "", shown = new Set(), rest = [], turn = 0;
  box.innerHTML =
    `<div class="sech"><h2>Events</h2><p data-box="told" role="status"></p><span class="space"></span>` +
    `<label>Find <input type="search" data-box="find" placeholder="type, place or value"></label>` +
    `<button type="button" data-box="fold" aria-pressed="false">Show what is the same</button></div>` +
    `<div class="wide" tabindex="0" role="region" aria-label="Events of both sessions"><table class="pairs"><thead><tr>` +
    names.map((name) => `<th scope="col" class="n">${esc(name)} #</th><th scope="col" class="n">at</th>` +
      '<th scope="col" class="n playhead">playhead</th>').join("") +
    `<th scope="col">event</th><th scope="col">what differs</th></tr></thead><tbody></tbody></table></div>`;
  const body = box.querySelector("tbody"), [told, find, fold] = ["told", "find", "fold"].map((name) => box.querySelector(`[data-box=${name}]`));
  const folds = foldsOf(value.rows);

  function rowMarkup(row) {
    const [a, b, kind, counts, unlike] = value.rows[row];
    const cells = [sides[0].cells(a), sides[1].cells(b)].join("");
    const type = a == null ? sides[1].name(b) : sides[0].name(a);
    const word = wordOf(kind, counts);
    const tone = counts ? "off" : kind === "same" ? "" : "pale";
    const told = kind === "same" ? "" : `<b class="${counts ? "odd" : "dim"}">${esc(word)}</b>`;
    return (
      `<tr data-row="${row}" class="${tone}">${cells}<td>${type}</td>` +
      `<td>${told}${unlike.map((each) => unlikeMarkup(each, names)).join("")}</td></tr>`
    );
  }

  function wordOf(kind, counts) {
    if (kind.startsWith("only")) return `${SAID[kind]} ${names[kind === "only-a" ? 0 : 1]}${counts ? "" : ", ignored"}`;
    return kind === "changed" && !counts ? "changed by the run" : SAID[kind];
  }

  function matches(row) {
    if (!wanted) return true;
    const [a, b, kind, , unlike] = value.rows[row];
    const text = [sides[0].plain(a), sides[1].plain(b), kind, ...unlike.flat()].join(" ").toLowerCase();
    return wanted.split(/\s+/).every((word) => text.includes(word));
  }

  function draw() {
    const pieces = [];
    shown = new Set();
    const isPlain = Boolean(wanted);
    for (const { begin, end, isFolded } of folds) {
      if (isFolded && !isPlain && !unfolded.has(begin)) {
        pieces.push(`<tr class="fold"><td colspan="8"><button type="button" data-fold="${begin}" aria-expanded="false">` +
          `▸ ${count(end - begin)} the same</button></td></tr>`);
        continue;
      }
      for (let row = begin; row < end; row += 1)
        if (matches(row)) {
          shown.add(row);
          pieces.push(rowMarkup(row));
        }
    }
    body.innerHTML = pieces.splice(0, PIECE).join("");
    rest = pieces;
    clearTimeout(turn);
    turn = setTimeout(drawMore);
    const off = value.rows.filter((row) => row[3]).length, differing = off ? `${count(off)} not the same` : "all the same";
    told.textContent = isPlain ? `${plural(shown.size, "row")} found` : `${plural(value.rows.length, "row")}, ${differing}`;
  }

  // The rest follows while the browser has nothing else to do: a page of thousands of rows is read from its top.
  function drawMore() {
    body.insertAdjacentHTML("beforeend", rest.splice(0, PIECE).join(""));
    if (rest.length) turn = setTimeout(drawMore);
  }

  function rowElement(row) {
    const isDrawn = () => body.querySelector(`[data-row="${row}"]`);
    if (!isDrawn() && shown.has(row)) finish();
    return isDrawn();
  }

  function finish() {
    body.insertAdjacentHTML("beforeend", rest.splice(0).join(""));
  }

  body.addEventListener("click", (event) => {
    const button = event.target.closest("[data-fold]");
    if (button) {
      const begin = Number(button.dataset.fold);
      unfolded.add(begin);
      draw();
      onPick(begin);
      return;
    }
    const row = event.target.closest("[data-row]");
    if (row && !String(getSelection())) onPick(Number(row.dataset.row));
  });
  find.addEventListener("input", () => {
    wanted = find.value.trim().toLowerCase();
    draw();
  });
  fold.addEventListener("click", () => {
    const isOpen = fold.getAttribute("aria-pressed") !== "true";
    fold.setAttribute("aria-pressed", String(isOpen));
    unfolded = new Set(isOpen ? folds.map(({ begin }) => begin) : []);
    draw();
  });
  draw();

  return {
    pick(row, scrolls) {
      body.querySelector("[aria-current]")?.removeAttribute("aria-current");
      if (row < 0) return;
      const home = folds.find(({ begin, end }) => row >= begin && row < end);
      if (home.isFolded && !wanted && !unfolded.has(home.begin)) {
        unfolded.add(home.begin);
        draw();
      }
      const found = rowElement(row);
      if (!found) return;
      found.setAttribute("aria-current", "true");
      if (scrolls) found.scrollIntoView({ block: "nearest" });
    },
    isSeen: (row) => shown.has(row),
    told(row) {
      const [a, b, kind, , unlike] = value.rows[row];
      const ours = a == null ? "" : `${names[0]} ${sides[0].plain(a)}`, theirs = b == null ? "" : `${names[1]} ${sides[1].plain(b)}`;
      return `${[ours, theirs].filter(Boolean).join(", ")}: ${[kind.replace("-", " "), ...unlike.map(([where]) => where)].join(", ")}`;
    },
    find,
    finish,
  };
}

/** Runs of rows, those that are the same apart from those that are not. */
function foldsOf(rows) {
  const folds = [];
  for (let begin = 0; begin < rows.length; ) {
    const isSame = rows[begin][2] === "same";
    let end = begin + 1;
    while (end < rows.length && (rows[end][2] === "same") === isSame) end += 1;
    folds.push({ begin, end, isFolded: isSame && end - begin >= SHORTEST_FOLD });
    begin = end;
  }
  return folds;
}

function sideOfTable({ page }) {
  const { events, kinds } = page, at = new Map(events.n.map((n, k) => [n, k]));
  const type = (n) => kinds[events.k[at.get(n)]] ?? "";
  return {
    name(n) {
      const detail = events.x[at.get(n)];
      return `<b>${esc(type(n))}</b>${detail ? ` <bdi class="dim">${esc(cut(detail, 60))}</bdi>` : ""}`;
    },
    plain: (n) => (n == null ? "" : `#${n} ${type(n)} ${events.x[at.get(n)]}`),
    cells(n) {
      if (n == null) return '<td class="n dim">–</td><td class="n"></td><td class="n playhead"></td>';
      const k = at.get(n), playhead = events.p[k];
      return `<td class="n dim">${n}</td><td class="n">${clock(events.t[k], 1)}</td>` +
        `<td class="n playhead dim">${playhead == null ? "" : clock(playhead, 1)}</td>`;
    },
  };
}

function unlikeMarkup([where, a, b, message], names) {
  const [one, other] = marked(a, b);
  const values = a == null && b == null ? "" :
    `<span class="values"><span class="sr">${esc(names[0])}: </span><span class="was">${one}</span><span aria-hidden="true"> → </span>` +
    `<span class="sr">${esc(names[1])}: </span><span class="is">${other}</span></span>`;
  const place = message && !values ? "" : `<code>${esc(where)}</code> ${values}`;
  return `<div class="unlike">${message ? `<span class="message">${esc(message)}</span> ` : ""}${place}</div>`;
}

/** Two values as markup, what differs in them marked; null stands for nothing. */
function marked(a, b) {
  if (a == null || b == null) return [a, b].map((each) => (each == null ? "<em>nothing</em>" : `<mark>${esc(each)}</mark>`));
  const one = [...a], other = [...b], most = Math.min(one.length, other.length);
  let head = 0, tail = 0;
  while (head < most && one[head] === other[head]) head += 1;
  while (tail < most - head && one.at(-1 - tail) === other.at(-1 - tail)) tail += 1;
  return [one, other].map((each) => {
    const end = each.length - tail, parts = [each.slice(0, head), each.slice(head, end), each.slice(end)];
    const [before, changed, after] = parts.map((part) => esc(part.join("")));
    return `${before}${changed ? `<mark>${changed}</mark>` : ""}${after}`;
  });
}
