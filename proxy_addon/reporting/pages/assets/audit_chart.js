// Distributions on a canvas, one below the other on one logarithmic axis.
import { scaleOf } from "./audit_scale.js";
import { stroke, write } from "./painting.js";

const ROW = 46, AXIS = 20, GAP = 8, BIN = 4, TICK_ROOM = 54, NARROW = 520;

/**
 * Draw distributions on a canvas, as wide as it is shown or as asked for.
 *
 * `rows` have `name`, `colour`, `found` and, to compare with, `behind`; `lines` are values that matter.
 */
export function drawDistributions(canvas, { rows, unit, lines }, colours, width = canvas.clientWidth, scale = devicePixelRatio || 1) {
  const height = rows.length * (ROW + GAP) + AXIS;
  if (!width) return; // a session is shown
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.aspectRatio = `${width} / ${height}`;
  const g = canvas.getContext("2d"), scene = { colours, width, height };
  const left = width < NARROW ? 72 : 96, right = width - 14;
  const ends = [...lines, ...rows.flatMap(({ found }) => [found.lowest, found.highest])];
  const { x, ticks } = scaleOf(unit, Math.min(...ends), Math.max(...ends), left, right, TICK_ROOM);
  g.scale(scale, scale);
  for (const value of ticks) {
    const at = Math.round(x(value)) + 0.5;
    stroke(g, colours.grid, 1, at, 0, at, height - AXIS);
    write(g, scene, unit.told(value), at, height - AXIS / 2 + 2, "dim", { align: "center", size: 11 });
  }
  rows.forEach((row, k) => drawRow(g, scene, row, k * (ROW + GAP), { x, left, right, unit }));
  for (const value of lines) {
    const at = Math.round(x(value)) + 0.5;
    stroke(g, colours.faint, 1, at, 0, at, height - AXIS, [3, 3]);
  }
}

function drawRow(g, scene, { name, colour, found, behind }, top, { x, left, right, unit }) {
  const { colours } = scene, base = top + ROW - 5, room = ROW - 12;
  write(g, scene, name, 0, top + ROW / 2 - 7, "ink", { weight: 600, size: 12, max: left - 8 });
  write(g, scene, unit.told(found.p50), 0, top + ROW / 2 + 8, "dim", { size: 11, max: left - 8 });
  stroke(g, colours.line, 1, left, base + 0.5, right, base + 0.5);
  g.fillStyle = colours[colour];
  for (const [at, share] of binned(found.buckets, x, left)) {
    const high = Math.max(1.5, share * room); // what is rare is seen, too
    g.fillRect(at, base - high, BIN - 1, high);
  }
  if (behind) drawBehind(g, colours, binned(behind.buckets, x, left), base, room, right);
  stroke(g, colours.dim, 2, x(found.p5), base + 3, Math.max(x(found.p95), x(found.p5) + 1), base + 3);
  stroke(g, colours.ink, 2, x(found.p50), base, x(found.p50), base + 6);
}

// An outline of what it is compared with.
function drawBehind(g, colours, bins, base, room, right) {
  g.strokeStyle = colours.faint;
  g.lineWidth = 1;
  g.beginPath();
  for (const [at, share] of bins) {
    if (at > right) continue;
    const y = Math.round(base - Math.max(1.5, share * room)) + 0.5;
    g.moveTo(at - 0.5, y);
    g.lineTo(at + BIN - 0.5, y);
  }
  g.stroke();
}

// Bars of equal width: where each begins, and how high it is, 1 for the highest.
function binned(buckets, x, left) {
  const bins = new Map();
  for (const [value, number] of buckets) {
    const bin = Math.floor((x(value) - left) / BIN);
    bins.set(bin, (bins.get(bin) ?? 0) + number);
  }
  const most = Math.max(...bins.values());
  return [...bins].filter(([bin]) => bin >= 0).sort(([a], [b]) => a - b).map(([bin, number]) => [left + bin * BIN, number / most]);
}
