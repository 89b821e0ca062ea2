// Two sessions beside each other: what differs in a sentence, mirrored lanes on one axis, and the table of their events.
import { comparisonTable } from "./compare_table.js";
import { differingMetrics } from "./compare_metrics.js";
import { goToSearch, header, onKey, onPrint } from "./family.js";
import { icon } from "./icons.js";
import { MirroredLanes } from "./mirrored_lanes.js";
import { lengthWords } from "./verdict_bar.js";
import { count, cut, esc, plural, prose } from "./words.js";

const ICONS = { fail: "error", warn: "warning", pass: "pass" };
const FORM_OF_COMPARISON = 1;

/**
 * Show a comparison in an empty element.
 *
 * `value` is the document of `ComparePage`. `links` says where things are: `sessions`, and `sides`, a link for each of the
 * two; each may be missing. Returns `destroy()`.
 */
export function mountCompare(root, value, links = {}) {
  if (value.form !== FORM_OF_COMPARISON) {
    root.innerHTML = '<p class="none" role="alert">This page and its data come from different versions of sessiontape. Load the page again.</p>';
    return { destroy: () => root.replaceChildren() };
  }
  root.innerHTML = skeleton(value, links);
  const [box, table] = ["lanes", "rows"].map((name) => root.querySelector(`[data-box=${name}]`));
  header(root.querySelector("[data-box=crumbs]"), [
    { text: "Sessions", href: links.sessions },
    { text: "Compare" },
  ], links.sessions === "/");
  const live = root.querySelector("[aria-live]");
  const lanes = new MirroredLanes(box, value, { choose: (row) => pick(row, true) });
  const rows = comparisonTable(table, value, { onPick: (row) => pick(row, false) });
  let picked = -1;

  function pick(row, isFromLanes) {
    picked = row;
    lanes.pick(row, !isFromLanes);
    rows.pick(row, isFromLanes);
    live.textContent = row < 0 ? "" : rows.told(row);
  }

  function step(by, isWanted) {
    for (let row = picked + by; row >= 0 && row < value.rows.length; row += by)
      if (isWanted(row)) {
        pick(row, false);
        rows.pick(row, true);
        return;
      }
  }

  for (const button of root.querySelectorAll("[data-align]"))
    button.addEventListener("click", () => {
      for (const each of root.querySelectorAll("[data-align]")) each.setAttribute("aria-pressed", String(each === button));
      lanes.align(button.dataset.align === "playhead" ? value.shift_s : 0);
    });
  for (const [name, act] of Object.entries({ in: () => lanes.zoom(0.6), out: () => lanes.zoom(1 / 0.6), fit: () => lanes.fit() }))
    root.querySelector(`[data-zoom=${name}]`).addEventListener("click", act);
  const undo = [
    onKey("j", () => step(1, rows.isSeen)),
    onKey("k", () => step(-1, rows.isSeen)),
    onKey("f", () => step(1, (row) => value.rows[row][3])),
    onKey("/", () => goToSearch(rows.find)),
    onKey("Escape", () => pick(-1, false)),
    onPrint(() => {
      rows.finish();
      return lanes.drawOnPaper();
    }),
  ];
  return {
    destroy() {
      for (const each of undo) each();
      lanes.destroy();
      root.replaceChildren();
    },
  };
}

const ALIGNING =
  '<span class="seg" role="group" aria-label="Align by">align by<button type="button" data-align="start" aria-pressed="true">start</button>' +
  '<button type="button" data-align="playhead" aria-pressed="false">playhead</button></span>';
const ZOOMING =
  '<span><button type="button" data-zoom="out" aria-label="Zoom out">−</button> ' +
  '<button type="button" data-zoom="in" aria-label="Zoom in">+</button> <button type="button" data-zoom="fit">Fit</button></span>';
const COMPARE_KEYS = "Drag to move, ctrl + wheel to zoom, or click the lanes and use the wheel. " +
  "Keys: ← → pair, + − zoom, 0 all; j k rows, f next difference, / find.";

function skeleton(value, links) {
  const { verdict, sides, shift_s: shift } = value;
  const names = sides.map((side) => side.label);
  return (
    `<a class="skip" href="#events">Skip to the events</a><header class="top"><div data-box="crumbs"></div>` +
    `<div class="verdict v-${esc(verdict.level)}"><div class="word">${icon(ICONS[verdict.level], verdict.word)}` +
    `<span>${esc(verdict.word)}</span></div>` +
    `<div><h1 dir="auto">${esc(heading(sides))}</h1><p class="headline">${prose(verdict.headline)}</p>` +
    `${value.remarks.map((remark) => `<p class="ended">${prose(remark)}</p>`).join("")}</div>` +
    `<div class="nums">${verdict.counts.map(([what, n, tone]) =>
      `<div class="${n ? esc(tone) : "zero"}"><b>${count(n)}</b><span>${esc(what)}</span></div>`).join("")}</div></div>` +
    `<div class="sides">${sides.map((side, k) => sideLine(side, links.sides?.[k])).join("")}</div></header>` +
    `<main class="compare"><section aria-label="Timeline"><div class="sech"><h2>Side by side</h2>` +
    `<p><span class="key same"></span> belong together <span class="key off"></span> differ ` +
    `<span class="key alone"></span> only in one</p><span class="space"></span>${shift == null ? "" : ALIGNING}${ZOOMING}</div>` +
    `<div data-box="lanes"></div><p class="dim small hint">${COMPARE_KEYS}</p></section>` +
    `<section id="events" data-box="rows" tabindex="-1"></section>` +
    differingMetrics(value, names) +
    passedOver(value) +
    `</main><footer>Made ${esc(value.made_at.slice(0, 19).replace("T", " "))} UTC by sessiontape. ` +
    "Times are seconds since the first event of each session, by the clock of its device.</footer>" +
    `<div class="sr" aria-live="polite"></div>`
  );
}

function heading(sides) {
  const [one, other] = sides.map(({ page }) => page.session.media_name || page.session.media_id || "Unnamed media");
  return cut(one === other ? one : `${one} and ${other}`, 200);
}

function sideLine({ label, name, is_judged: judged, page }, href) {
  const { session, verdict } = page;
  const told = [
    [session.player_name, session.app_version].filter(Boolean).join(" "),
    session.started_at.replace("T", " ").slice(0, 19),
    lengthWords(page),
    plural(session.events, "event"),
  ].filter(Boolean);
  const id = `<b class="mono">${esc(cut(name, 80))}</b>`;
  return (
    `<p><span class="label">${esc(label)}</span> ${href ? `<a href="${esc(href)}">${id}</a>` : id} ` +
    `<span class="dim">${told.map((each) => `<bdi>${esc(cut(each, 60))}</bdi>`).join(" · ")}</span> ` +
    `${judged ? icon(ICONS[verdict.level], verdict.level) : ""}</p>`
  );
}

function passedOver(value) {
  if (!value.passed_over.length) return "";
  const rows = value.passed_over.map(({ what, why, count: n }) =>
    `<tr><td><code>${esc(what)}</code></td><td class="n">${n == null ? "" : count(n)}</td><td>${prose(why)}</td></tr>`);
  return (
    `<section class="doc passed"><h2>What was ignored</h2><table><thead><tr><th scope="col">what</th><th scope="col" class="n">times</th>` +
    `<th scope="col">why</th></tr></thead><tbody>${rows.join("")}</tbody></table></section>`
  );
}
