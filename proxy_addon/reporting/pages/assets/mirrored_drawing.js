// How two sessions are drawn beside each other, on a canvas.
import { hatch } from "./colours.js";
import { clock, visible } from "./words.js";

const AXIS = 20;
const GAP = 7;
const TICKS_S = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600];
const NAMED = { content: "playing", ad: "ad", paused: "paused", over: "over", stalled: "stalled", buffering: "buffering" };

/** The lanes from top to bottom, each with its place, and the height of all. */
export function layoutOf({ sides }) {
  const hasAds = sides.some(({ spans }) => spans.ads.length || spans.breaks.length);
  const of = (side) => {
    const lanes = [
      { side, name: "Events", h: 30, draw: drawPairedEvents },
      ...(hasAds ? [{ side, name: "Ads", h: 24, draw: drawAdsOf }] : []),
      { side, name: "Playback", h: 20, draw: drawPlaybackOf },
    ];
    return side ? lanes : lanes.reverse();
  };
  const lanes = [...of(0), { name: "Pairs", h: 40, draw: drawHairlines }, ...of(1), { name: "Playhead", h: 140, draw: drawPlayheads }];
  let y = AXIS;
  for (const lane of lanes) {
    lane.y = y;
    y += lane.h + GAP;
  }
  return [lanes, y];
}

/** Draw all of it. */
export function drawMirrored(g, plot) {
  const c = plot.colours;
  g.clearRect(0, 0, plot.width, plot.height);
  drawAxis(g, plot);
  for (const lane of plot.lanes) {
    g.fillStyle = c.line;
    g.fillRect(0, Math.round(lane.y + lane.h + GAP / 2), plot.width, 0.6);
    nameLane(g, plot, lane);
  }
  g.save();
  g.beginPath();
  g.rect(plot.left - 8, 0, plot.right - plot.left + 16, plot.height);
  g.clip();
  for (const lane of plot.lanes) {
    lane.scale = [];
    lane.draw(g, plot, lane);
  }
  drawPicked(g, plot);
  g.restore();
  for (const lane of plot.lanes)
    for (const [y, text] of lane.scale) writeOn(g, plot, text, plot.right + 10, y, { colour: c.faint, size: 10.5, most: plot.width - plot.right - 10 });
}

function writeOn(g, plot, text, px, y, { colour = plot.colours.ink, align = "left", weight = 400, size = 11.5, most = 0 } = {}) {
  let shown = visible(text);
  g.font = `${weight} ${size}px ${plot.colours.font}`;
  g.fillStyle = colour;
  g.textAlign = align;
  g.textBaseline = "middle";
  if (most && g.measureText(shown).width > most) {
    const letters = [...shown], whole = letters.length;
    while (letters.length > 1 && g.measureText(`${letters.join("")}…`).width > most) letters.pop();
    if (letters.length < Math.min(4, whole)) return;
    shown = `${letters.join("")}…`;
  }
  g.fillText(shown, px, y);
}

function nameLane(g, plot, { name, side, y, h }) {
  const c = plot.colours, isNarrow = plot.left < 100;
  const label = side == null ? "" : plot.sides[side].label;
  writeOn(g, plot, name, 0, y + h / 2, { weight: 600, size: 12, most: plot.left - 10 });
  if (label && !isNarrow) writeOn(g, plot, label, plot.left - 12, y + h / 2, { colour: c.dim, size: 11, align: "right", most: 58 });
  if (name === "Pairs" && !isNarrow) {
    const off = plot.pairs.filter((pair) => pair.counts).length;
    writeOn(g, plot, off ? `${off} off` : "the same", plot.left - 12, y + h / 2, { colour: off ? c.warning : c.dim, size: 11, align: "right" });
  }
}

function drawAxis(g, plot) {
  const { a, b } = plot.view, c = plot.colours;
  const step = TICKS_S.find((s) => (s / (b - a)) * (plot.right - plot.left) > 62) ?? 43200, decimals = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  g.strokeStyle = c.grid;
  g.lineWidth = 1;
  for (let t = Math.ceil(a / step) * step; t <= b; t += step) {
    const px = Math.round(plot.x(t)) + 0.5;
    if (px < plot.left || px > plot.right + 1) continue;
    g.beginPath();
    g.moveTo(px, AXIS - 4);
    g.lineTo(px, plot.height);
    g.stroke();
    writeOn(g, plot, clock(t, decimals), px, 8, { colour: c.dim, align: "center" });
  }
}

/** Call `draw(span, left, width)` for the spans in view. */
function inView(plot, side, spans, draw) {
  const shift = side ? plot.shift : 0;
  for (const span of spans) {
    const from = Math.max(plot.left - 6, plot.x(span.a + shift)), to = Math.min(plot.right + 8, plot.x(span.b + shift));
    if (to >= plot.left - 6 && from <= plot.right + 6) draw(span, from, Math.max(to - from, 1));
  }
}

function drawPlaybackOf(g, plot, { side, y, h }) {
  const c = plot.colours;
  inView(plot, side, plot.sides[side].spans.playback, (span, from, width) => {
    if (span.k === "content" && width < 0.6) return; // the moment between two ads
    const isTrouble = span.k === "buffering" || span.k === "stalled";
    g.fillStyle = isTrouble ? hatch(g, c, span.k) : c[span.k] ?? c.starting;
    const left = Math.floor(from);
    g.fillRect(left, y, Math.ceil(from + width) - left, h);
    if (width > 44 && !isTrouble && NAMED[span.k]) {
      const colour = span.k === "content" ? c.contentink : span.k === "ad" ? c.adink : c.ink;
      writeOn(g, plot, NAMED[span.k], from + width / 2, y + h / 2 + 0.5, { colour, align: "center", weight: 600, size: 11, most: width - 8 });
    }
  });
}

function drawAdsOf(g, plot, { side, y, h }) {
  const c = plot.colours, { spans } = plot.sides[side];
  inView(plot, side, spans.breaks, (span, from, width) => {
    g.strokeStyle = c.ad;
    g.lineWidth = 1.5;
    g.strokeRect(from + 0.75, y + 0.75, Math.max(width - 1.5, 1), h - 1.5);
  });
  inView(plot, side, spans.ads, (ad, from, width) => {
    g.globalAlpha = ad.completed || ad.ignored ? 1 : 0.5;
    g.fillStyle = ad.ignored ? hatch(g, c, "stalled") : c.ad;
    g.fillRect(from + 2, y + 4, Math.max(width - 3, 1), h - 8);
    g.globalAlpha = 1;
    if (width > 40) writeOn(g, plot, ad.name, from + 7, y + h / 2 + 0.5, { colour: ad.ignored ? c.stalled : c.adink, size: 11, weight: 500, most: width - 12 });
  });
}

function drawPairedEvents(g, plot, { side, y, h }) {
  const { events, kinds } = plot.sides[side], c = plot.colours, edge = side ? y : y + h;
  const seen = plot.pairs.filter((pair) => (side ? pair.b : pair.a) != null).map((pair) => [pair, plot.x(plot.t(side, side ? pair.b : pair.a))]).filter(([, px]) => px > plot.left - 8 && px < plot.right + 8);
  const isDense = seen.filter(([pair]) => kinds[events.k[side ? pair.b : pair.a]] !== "ping").length * 5 > plot.right - plot.left;
  const rows = [-99, -99];
  let last = -9;
  for (const [pair, px] of seen) {
    const k = side ? pair.b : pair.a, type = kinds[events.k[k]], isAlone = pair.kind.startsWith("only");
    if (type === "ping" || isDense) {
      if (isDense && !pair.counts && px - last < 1) continue;
      last = px;
      g.globalAlpha = pair.counts ? 1 : 0.55;
      g.fillStyle = pair.counts ? c.warning : c.content;
      const length = type === "ping" ? 9 : h - 4, top = side ? edge : edge - length;
      if (isAlone && pair.counts) {
        g.strokeStyle = c.warning;
        g.lineWidth = 1.2;
        g.strokeRect(px - 1.8, top + 0.5, 3.6, length - 1);
      } else g.fillRect(px - 0.7, top, pair.counts ? 2 : 1.4, length);
      g.globalAlpha = 1;
      continue;
    }
    // What happens at one time is stacked away from the middle.
    const free = rows.findIndex((taken) => px - taken >= 11), row = free < 0 ? 1 : free;
    rows[row] = px;
    const cy = side ? y + 7 + row * 13 : y + h - 7 - row * 13;
    drawEventMark(g, plot, type, px, cy);
    if (pair.counts) {
      g.strokeStyle = c.warning;
      g.lineWidth = 1.6;
      if (isAlone) g.setLineDash([2.5, 2]);
      g.beginPath();
      g.arc(px, cy, 8, 0, 7);
      g.stroke();
      g.setLineDash([]);
    }
  }
}

function drawHairlines(g, plot, { y, h }) {
  const c = plot.colours, end = y + h, isMany = plot.pairs.length > (plot.right - plot.left) / 1.5;
  const quiet = plot.pairs.filter((pair) => !pair.counts && pair.a != null && pair.b != null);
  g.strokeStyle = c.faint;
  g.lineWidth = 0.8;
  g.globalAlpha = 0.6;
  g.beginPath();
  let last = -9;
  for (const pair of quiet) {
    const from = plot.x(plot.t(0, pair.a)), to = plot.x(plot.t(1, pair.b));
    if (Math.max(from, to) < plot.left - 8 || Math.min(from, to) > plot.right + 8 || (isMany && from - last < 1.5 && from >= last)) continue;
    last = from;
    g.moveTo(from, y);
    g.lineTo(to, end);
  }
  g.stroke();
  g.globalAlpha = 1;
  for (const pair of plot.pairs) {
    if (!pair.counts) continue;
    const ends = [pair.a == null ? null : plot.x(plot.t(0, pair.a)), pair.b == null ? null : plot.x(plot.t(1, pair.b))];
    g.strokeStyle = c.warning;
    g.lineWidth = 1.8;
    g.beginPath();
    if (ends[0] != null && ends[1] != null) {
      g.moveTo(ends[0], y);
      g.lineTo(ends[1], end);
      g.stroke();
      continue;
    }
    // Only in one: the line ends in the middle, at nothing.
    const px = ends[0] ?? ends[1], from = ends[0] == null ? end : y, to = ends[0] == null ? end - h / 2 + 3 : y + h / 2 - 3;
    g.moveTo(px, from);
    g.lineTo(px, to);
    g.stroke();
    g.beginPath();
    g.arc(px, ends[0] == null ? to - 3 : to + 3, 3, 0, 7);
    g.stroke();
  }
}

function drawPlayheads(g, plot, lane) {
  const { y, h } = lane, c = plot.colours, points = [0, 1].map((side) => plot.sides[side].curve.map((k) => [plot.t(side, k), plot.sides[side].events.p[k]]));
  const inside = points.flat().filter(([t]) => t >= plot.view.a && t <= plot.view.b).map(([, p]) => p), all = inside.length > 1 ? inside : points.flat().map(([, p]) => p);
  if (!all.length) return;
  const low = all.reduce((one, other) => Math.min(one, other)), high = Math.max(all.reduce((one, other) => Math.max(one, other)), low + 1);
  const height = (p) => y + h - 5 - ((p - low) / (high - low)) * (h - 12);
  const step = TICKS_S.find((s) => (s / (high - low)) * (h - 12) >= 26) ?? 21600;
  g.lineWidth = 1;
  for (let p = Math.ceil(low / step) * step; p <= high; p += step) {
    const py = Math.round(height(p)) + 0.5;
    g.strokeStyle = c.grid;
    g.beginPath();
    g.moveTo(plot.left, py);
    g.lineTo(plot.right, py);
    g.stroke();
    lane.scale.push([py, clock(p)]);
  }
  for (const side of [0, 1]) {
    g.strokeStyle = side ? c.ink : c.content;
    g.lineWidth = side ? 1.5 : 2.6;
    g.setLineDash(side ? [5, 4] : []);
    g.beginPath();
    points[side].forEach(([t, p], k) => (k ? g.lineTo(plot.x(t), height(p)) : g.moveTo(plot.x(t), height(p))));
    g.stroke();
  }
  // The legend stands where the lines are not: the playhead rises.
  const names = plot.sides.map(({ label }) => label);
  let px = plot.left + 10;
  for (const side of [0, 1]) {
    g.strokeStyle = side ? c.ink : c.content;
    g.lineWidth = side ? 1.5 : 2.6;
    g.setLineDash(side ? [5, 4] : []);
    g.beginPath();
    g.moveTo(px, y + 8);
    g.lineTo(px + 24, y + 8);
    g.stroke();
    writeOn(g, plot, names[side], px + 30, y + 8, { colour: c.dim, size: 11 });
    px += 44 + g.measureText(names[side]).width;
  }
  g.setLineDash([]);
}

function drawPicked(g, plot) {
  const pair = plot.pairs[plot.picked];
  if (!pair) return;
  const middle = plot.lanes.find(({ name }) => name === "Pairs"), ends = [pair.a == null ? null : plot.x(plot.t(0, pair.a)), pair.b == null ? null : plot.x(plot.t(1, pair.b))];
  g.strokeStyle = plot.colours.ink;
  g.lineWidth = 1;
  g.beginPath();
  if (ends[0] != null) {
    g.moveTo(ends[0], AXIS);
    g.lineTo(ends[0], middle.y);
  }
  if (ends[0] != null && ends[1] != null) {
    g.moveTo(ends[0], middle.y);
    g.lineTo(ends[1], middle.y + middle.h);
  }
  if (ends[1] != null) {
    g.moveTo(ends[1], middle.y + middle.h);
    g.lineTo(ends[1], plot.height);
  }
  g.stroke();
}

function drawEventMark(g, plot, type, px, y) {
  g.fillStyle = plot.colours.ink;
  g.beginPath();
  g.arc(px, y, 3.5, 0, 7);
  g.fill();
}
