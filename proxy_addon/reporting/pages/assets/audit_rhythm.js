// How regularly devices report, how far their clocks are off, and how long they wait for answers: as charts, and as numbers.
import { drawDistributions } from "./audit_chart.js";
import { AMOUNTS, LENGTHS, SPEEDS } from "./audit_scale.js";
import { plainTable } from "./audit_table.js";
import { leftOutMarkup } from "./audit_words.js";
import { colours } from "./colours.js";
import { onColours, onPrint } from "./family.js";
import { count, esc, plural } from "./words.js";

const COLOURED = new Set(["content", "ad", "paused", "buffering", "starting"]);
const PAPER = { width: 350, scale: 3 };
const NUMBERS = { lowest: "lowest", p5: "5 %", p50: "median", p95: "95 %", highest: "highest" };
const LEGEND = "Bars: how often a value occurred. The line below: from 5 % to 95 % of them, with the median, which also stands at the left. " +
  "Dashed: a value to compare with.";
const COLUMNS = [['<span class="sr">of</span>'], ["number", "n"], ...Object.values(NUMBERS).map((name) => [name, "n"])];

// What is drawn together: a title, what it says, its unit, values that matter, and its distributions by name.
const CHARTS = [
  ["Ping to ping", "by the device's clock, while playback stays in one state", LENGTHS, [10_000], (of) => Object.entries(of.ping_gaps_ms)],
  ["Time to the answer", "SDKs give up after 5 s", LENGTHS, [5_000], (of) => [["answers", of.latency_ms]]],
  ["Arrival after the device's clock", "negative: the clock is fast", LENGTHS, [0], (of) => [["events", of.clock_skew_ms]]],
  ["Speed of the playhead", "while content plays", SPEEDS, [1_000], (of) => [["content", of.playhead_speed]]],
  ["Size of batches", "of downloaded playback", AMOUNTS, [], (of) => [["batches", of.batch_events]]],
];

/** Show the rhythm in an empty element; `show()` draws that of the group that is chosen. */
export function mountRhythm(root, context) {
  root.innerHTML = '<div class="sech"><h2>Rhythm</h2><p></p></div><div class="gap"></div><div class="rhythms"></div>';
  const [, left, box] = root.children, about = root.querySelector("p");
  let drawn = [];

  function draw() {
    const { k, group: { rhythm } } = context.chosen, whole = context.page.audit.all.rhythm;
    const charts = CHARTS.map(([title, says, unit, lines, of]) => {
      const behind = new Map(k === null ? [] : of(whole)), measured = of(rhythm).filter(([, found]) => found.number);
      return { title, says, unit, lines, rows: measured.map(([name, found]) => rowOf(name, found, behind.get(name))) };
    }).filter(({ rows }) => rows.length);
    about.textContent = charts.length ? LEGEND + (k === null ? "" : " The thin line is that of all groups.") : "";
    box.innerHTML = charts.map(chartMarkup).join("") || '<p class="none">Nothing was measured.</p>';
    left.innerHTML = leftOutMarkup(rhythm.left_out, "Ping to ping, and speed of the playhead");
    drawn = charts.map((chart, at) => ({ ...chart, canvas: box.children[at].querySelector("canvas") }));
    if (rhythm.answers_over_5_s) {
      const told = `<p class="bad">${plural(rhythm.answers_over_5_s, "answer")} took longer than 5 s: SDKs do not wait for them.</p>`;
      box.querySelector('[data-chart="Time to the answer"] figcaption').insertAdjacentHTML("beforeend", told);
    }
    paint();
  }

  function paint() {
    const found = colours();
    for (const chart of drawn) drawDistributions(chart.canvas, chart, found);
  }

  // Of each chart a second one, for a column of a sheet.
  function drawOnPaper() {
    const found = colours(), sheets = drawn.map((chart) => {
      const sheet = document.createElement("canvas");
      sheet.className = "paper";
      drawDistributions(sheet, chart, found, PAPER.width, PAPER.scale);
      chart.canvas.after(sheet);
      return sheet;
    });
    return () => sheets.forEach((sheet) => sheet.remove());
  }

  new ResizeObserver(paint).observe(box);
  onColours(paint);
  onPrint(drawOnPaper);
  return { show: draw };
}

function rowOf(name, found, behind) {
  return { name, found, behind, colour: COLOURED.has(name) ? name : "content" };
}

function chartMarkup({ title, says, unit, rows }) {
  const told = rows.map(({ name, found }) => `${name}, median ${unit.told(found.p50)}, 95 % below ${unit.told(found.p95)}`);
  const lines = rows.map(({ name, found }) => ({
    cells: [esc(name), count(found.number), ...Object.keys(NUMBERS).map((each) => unit.told(found[each]))],
  }));
  return `<figure data-chart="${esc(title)}"><figcaption><h3>${esc(title)}</h3> <span class="dim">${esc(says)}</span></figcaption>` +
    `<div class="plotbox"><canvas role="img" aria-label="${esc(`${title}: ${told.join("; ")}`)}"></canvas></div>` +
    `${plainTable(title, COLUMNS, lines)}</figure>`;
}
