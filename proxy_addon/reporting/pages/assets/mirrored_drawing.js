// How two sessions are drawn beside each other. A scene has `sides`, `pairs`, `axis` and, in the own time of each, `axes`.
import { stepFor, ticks } from "./axis.js";
import { adsLane } from "./lanes/ads.js";
import { playbackLane } from "./lanes/playback.js";
import { drawMark, drawRing } from "./marks.js";
import { chip, dot, measured, stroke, write } from "./painting.js";
import { clock, count, ms } from "./words.js";

const TOP = 20, GAP = 7, APART = 11.5, PER_MARK = 5, PER_NAME = 60, PING = 8, DASH = [5, 4];
const LATE_MS = 1000, MOST_TOLD = 6;

/** The lanes from top to bottom, each with its place, and the height of all. */
export function lanesOf({ drift, sides }) {
  const hasAds = sides.some(({ page: { spans } }) => spans.ads.length || spans.breaks.length);
  const own = (side) => [
    { side, name: "Events", h: 52, draw: drawEvents },
    ...(hasAds ? [{ side, name: "Ads", h: 26, draw: (g, lane, scene) => adsLane.draw(g, lane, sceneOf(scene, side)) }] : []),
    { side, name: "Playback", h: 20, draw: (g, lane, scene) => playbackLane.draw(g, lane, sceneOf(scene, side)) },
  ];
  const lanes = [
    ...own(0).reverse(),
    { name: "Pairs", h: 40, draw: drawHairlines },
    ...own(1),
    ...(drift.size ? [{ side: 1, name: "Drift", h: 46, draw: drawDrift }] : []),
    { name: "Playhead", h: 140, draw: drawPlayheads },
  ];
  let y = TOP;
  for (const lane of lanes) {
    lane.y = y;
    y += lane.h + GAP;
  }
  return [lanes, y];
}

// The scene for the lanes of one session.
function sceneOf(scene, side) {
  return { axis: scene.axes[side], colours: scene.colours, facts: { value: scene.sides[side].page }, width: scene.width };
}

/** Draw all of it. */
export function drawMirrored(g, scene) {
  const { axis, colours, height, lanes, width } = scene;
  g.clearRect(0, 0, width, height);
  for (const [time, label] of ticks(axis.view.a, axis.view.b, stepFor(axis.perSecond, 62))) {
    const x = Math.round(axis.x(time)) + 0.5;
    if (x < axis.left || x > axis.right + 1) continue;
    stroke(g, colours.grid, 1, x, TOP - 4, x, height);
    write(g, scene, label, x, 8, "dim", { align: "center" });
  }
  for (const lane of lanes) {
    g.fillStyle = colours.line;
    g.fillRect(0, Math.round(lane.y + lane.h + GAP / 2), width, 0.6);
    nameLane(g, lane, scene);
  }
  g.save();
  g.beginPath();
  g.rect(axis.left - 8, 0, axis.right - axis.left + 16, height);
  g.clip();
  for (const lane of lanes) {
    lane.scale = [];
    lane.draw(g, lane, scene);
  }
  drawPicked(g, scene);
  g.restore();
  for (const { scale } of lanes)
    for (const [y, text] of scale) write(g, scene, text, axis.right + 10, y, "faint", { size: 10.5, max: width - axis.right - 10, whole: true });
}

function nameLane(g, { name, side, y, h }, scene) {
  const { axis, pairs, sides } = scene, middle = y + h / 2;
  write(g, scene, name, 0, middle, "ink", { weight: 600, size: 12, max: axis.left - 10 });
  if (axis.left < 100) return;
  const isDrift = name === "Drift", note = isDrift ? `worst ${ms(worstOf(scene.drift))}` : sides[side]?.label;
  if (note) write(g, scene, note, axis.left - 12, middle, "dim", { size: 11, align: "right", max: isDrift ? 90 : 60 });
  if (name !== "Pairs") return;
  const off = pairs.filter((pair) => pair.counts).length;
  write(g, scene, off ? `${count(off)} not the same` : "all the same", axis.left - 12, middle, off ? "warning" : "dim", { size: 11, align: "right" });
}

function xOf({ axes, sides }, side, k) {
  return axes[side].x(sides[side].page.events.t[k]);
}

function drawEvents(g, { side, y, h }, scene) {
  const { axis, colours, pairs, sides } = scene, { events, kinds } = sides[side].page;
  const seen = [];
  for (const pair of pairs) {
    const k = pair.ends[side], x = k === undefined ? NaN : xOf(scene, side, k);
    if (x > axis.left - 8 && x < axis.right + 8) seen.push({ pair, k, x, type: kinds[events.k[k]] });
  }
  const others = seen.filter(({ type }) => type !== "ping");
  if (others.length * PER_MARK > axis.right - axis.left) {
    drawTicks(g, seen, side ? y : y + 2, h - 2, colours);
    return;
  }
  const pings = seen.filter(({ type }) => type === "ping");
  drawTicks(g, pings, side ? y : y + h - PING, PING, colours);
  const ends = [-Infinity, -Infinity, -Infinity], placed = others.map((each) => {
    // Events of one time are stacked away from the middle.
    const free = ends.findIndex((end) => each.x - end >= APART), row = free < 0 ? ends.length - 1 : free;
    ends[row] = each.x;
    return { ...each, row, y: side ? y + 17 + row * 13.5 : y + h - 17 - row * 13.5 };
  });
  const hasRoom = placed.length * PER_NAME < axis.right - axis.left;
  placed.forEach(({ pair, k, x, y: at, type, row }, position) => {
    drawMark(g, colours, type, x, at);
    if (events.s[k] >= 300 || !events.s[k]) drawRing(g, colours, x, at, 6.4);
    if (pair.counts) ringOf(g, pair, x, at, colours);
    if (!hasRoom) return;
    const next = placed.find((other, later) => later > position && other.row === row), room = (next?.x ?? axis.right) - x - 20;
    if (room > 40) write(g, scene, `${type} ${events.x[k]}`.trim(), x + 12, at, "dim", { size: 11, max: room });
  });
}

function ringOf(g, { kind }, x, y, colours) {
  g.strokeStyle = colours.warning;
  g.lineWidth = 1.6;
  g.setLineDash(kind.startsWith("only") ? [2.5, 2] : []);
  g.beginPath();
  g.arc(x, y, 8, 0, 7);
  g.stroke();
  g.setLineDash([]);
}

function drawTicks(g, seen, top, height, colours) {
  let last = -9;
  g.fillStyle = colours.content;
  g.globalAlpha = 0.55;
  for (const { pair, x } of seen) {
    if (pair.counts || x - last < 1) continue;
    last = x;
    g.fillRect(x - 0.7, top, 1.4, height);
  }
  g.globalAlpha = 1;
  for (const { pair, x } of seen) {
    if (!pair.counts) continue;
    g.fillStyle = g.strokeStyle = colours.warning;
    g.lineWidth = 1.2;
    if (pair.kind.startsWith("only")) g.strokeRect(x - 1.8, top + 0.5, 3.6, height - 1);
    else g.fillRect(x - 1.1, top, 2.2, height);
  }
}

function drawHairlines(g, { y, h }, scene) {
  const { axis, colours, pairs } = scene, end = y + h;
  g.strokeStyle = colours.faint;
  g.lineWidth = 0.8;
  g.globalAlpha = 0.6;
  g.beginPath();
  let last = -9;
  for (const { ends: [a, b], counts } of pairs) {
    if (counts || a === undefined || b === undefined) continue;
    const from = xOf(scene, 0, a), to = xOf(scene, 1, b);
    if (Math.max(from, to) < axis.left - 8 || Math.min(from, to) > axis.right + 8 || Math.abs(from - last) < 1.5) continue;
    last = from;
    g.moveTo(from, y);
    g.lineTo(to, end);
  }
  g.stroke();
  g.globalAlpha = 1;
  for (const { ends: [a, b], counts } of pairs) {
    if (!counts) continue;
    if (a !== undefined && b !== undefined) stroke(g, colours.warning, 1.8, xOf(scene, 0, a), y, xOf(scene, 1, b), end);
    else if (a !== undefined) drawLoose(g, colours, xOf(scene, 0, a), y, y + h / 2);
    else drawLoose(g, colours, xOf(scene, 1, b), end, end - h / 2);
  }
}

// An event of only one session: its line ends in the middle.
function drawLoose(g, colours, x, from, middle) {
  const short = middle + (from < middle ? -3 : 3);
  stroke(g, colours.warning, 1.8, x, from, x, short);
  g.beginPath();
  g.arc(x, middle, 3, 0, 7);
  g.stroke();
}

// How late each request was sent; amber if it was so late that a player would have noticed.
function drawDrift(g, { side, y, h, scale }, scene) {
  const { axis, colours, drift } = scene, top = worstOf(drift);
  const heightOf = (by) => y + h - 5 - (Math.max(0, by) / top) * (h - 10);
  for (const by of [0, top]) {
    const at = Math.round(heightOf(by)) + 0.5;
    stroke(g, colours.grid, 1, axis.left, at, axis.right, at);
    scale.push([at, by ? ms(by) : "0"]);
  }
  const seen = [...drift].map(([k, by]) => [xOf(scene, side, k), by]).filter(([x]) => x > axis.left - 8 && x < axis.right + 8);
  const late = seen.filter(([, by]) => by > LATE_MS);
  for (const [x, by] of seen) dot(g, by > LATE_MS ? colours.warning : colours.dim, x, heightOf(by), by > LATE_MS ? 2.8 : 1.6);
  if (late.length > MOST_TOLD) return;
  const style = { size: 10.5, whole: true };
  for (const [x, by] of late) write(g, scene, `sent ${ms(by)} late`, x + 6, heightOf(by) + 4, "warning", { ...style, max: axis.right - x - 8 });
}

function worstOf(drift) {
  let worst = 1;
  for (const by of drift.values()) worst = Math.max(worst, by);
  return worst;
}

function drawPlayheads(g, { y, h, scale }, scene) {
  const { axes, axis, colours, sides } = scene;
  const seen = sides.map(({ curve, page: { events } }, side) => curve.map((k) => [events.t[k], events.p[k]])
    .filter(([t], k, all) => (all[k + 1]?.[0] ?? t) >= axes[side].view.a && (all[k - 1]?.[0] ?? t) <= axes[side].view.b));
  let low = Infinity, high = -Infinity;
  for (const [, p] of seen.flat()) {
    low = Math.min(low, p);
    high = Math.max(high, p);
  }
  if (low > high) return;
  high = Math.max(high, low + 1);
  const heightOf = (p) => y + h - 5 - ((p - low) / (high - low)) * (h - 12);
  for (const [p, label] of ticks(low, high, stepFor((h - 12) / (high - low), 26))) {
    const at = Math.round(heightOf(p)) + 0.5;
    stroke(g, colours.grid, 1, axis.left, at, axis.right, at);
    scale.push([at, label]);
  }
  let legend = axis.left + 10;
  seen.forEach((points, side) => {
    penOf(g, side, colours);
    g.beginPath();
    points.forEach(([t, p], k) => (k ? g.lineTo(axes[side].x(t), heightOf(p)) : g.moveTo(axes[side].x(t), heightOf(p))));
    g.stroke();
    // The legend stands at the top left, which a rising playhead leaves free.
    g.beginPath();
    g.moveTo(legend, y + 8);
    g.lineTo(legend + 24, y + 8);
    g.stroke();
    g.setLineDash([]);
    write(g, scene, sides[side].label, legend + 30, y + 8, "dim", { size: 11 });
    legend += 46 + measured(g, scene, sides[side].label, 11);
  });
}

function penOf(g, side, colours) {
  g.strokeStyle = side ? colours.ink : colours.content;
  g.lineWidth = side ? 1.5 : 2.6;
  g.setLineDash(side ? DASH : []);
}

function drawPicked(g, scene) {
  const { colours, height, lanes, pairs, picked } = scene;
  if (!pairs[picked]) return;
  const [a, b] = pairs[picked].ends.map((k, side) => k !== undefined && xOf(scene, side, k)), middle = lanes.find(({ name }) => name === "Pairs");
  if (a !== false) stroke(g, colours.ink, 1, a, TOP, a, middle.y);
  if (a !== false && b !== false) stroke(g, colours.ink, 1, a, middle.y, b, middle.y + middle.h);
  if (b !== false) stroke(g, colours.ink, 1, b, middle.y + middle.h, b, height);
}

/** Draw the line at the pointer, and the numbers of the chosen pair at its time. */
export function drawPointer(g, scene, hover, chosen) {
  const { axis, colours, height, width } = scene;
  g.clearRect(0, 0, width, height);
  if (hover !== null) {
    stroke(g, colours.faint, 1, hover, TOP, hover, height, [3, 3]);
    chip(g, scene, hover, clock(axis.time(hover), axis.view.b - axis.view.a < 60 ? 2 : 0), "dim");
  }
  if (!chosen) return;
  const [time, text] = chosen, x = axis.x(time);
  if (x >= axis.left && x <= axis.right) chip(g, scene, x, text, "ink");
}
