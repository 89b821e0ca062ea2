// A value of the events as a line against time, in the colour of the playback state. Used for the playhead and for live.
import { stepFor } from "../axis.js";
import { lower } from "../facts.js";
import { measured, stroke, write } from "../painting.js";
import { lasted } from "../words.js";

const COLOURS = { content: "content", ad: "ad", buffering: "buffering", stalled: "stalled", paused: "faint" };
const DENSE = 1500, WITH_DOTS = 300, WITH_PING_DOTS = 90;
const MOST_TOLD = 60, LABEL_PX = 14, BESIDE = 6;

/**
 * Draw the line and its scale; returns where a value is.
 *
 * `valueOf(i)` is the value, `range` its ends over the whole session, `label(value, step)` a label of the scale, `jump(i, j)` a
 * word if the value jumps from one event to the next.
 */
export function drawCurve(g, box, scene, { valueOf, range, label, jump }) {
  const { axis, facts, colours } = scene, { y, h } = box;
  const seen = facts.played.within(axis.view.a, axis.view.b);
  const [low, high] = axis.isWhole ? range : zoomed(seen.map(valueOf), range);
  const heightOf = (value) => y + h - 4 - ((value - low) / (high - low || 1)) * (h - 10);
  const step = stepFor((h - 10) / (high - low || 1), 26);
  for (let k = Math.ceil(low / step); k * step <= high; k++) {
    const at = Math.round(heightOf(k * step)) + 0.5;
    stroke(g, colours.grid, 1, axis.left, at, axis.right, at);
    box.scale.push([at, label(k * step, step)]);
  }
  const jumps = drawLine(g, scene, seen, (i) => heightOf(valueOf(i)), valueOf, jump);
  if (seen.length < WITH_DOTS) drawDots(g, scene, seen, (i) => heightOf(valueOf(i)));
  tellJumps(g, box, scene, jumps, seen.map((i) => ({ x: axis.x(facts.E.t[i]), y: heightOf(valueOf(i)) })));
  return heightOf;
}

// The scale follows the view: otherwise a short part of a long film would be a flat line.
function zoomed(values, [low, high]) {
  if (values.length < 2) return [low, high];
  let least = Infinity, most = -Infinity;
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  if (most - least >= (high - low) * 0.7) return [low, high];
  const margin = Math.max(4 - (most - least), (most - least) * 0.12) / 2;
  return [Math.max(low, least - margin), Math.min(high, most + margin)];
}

// Stretches of one kind are one path, so that no joints are visible. Returns the jumps: their ends and words.
function drawLine(g, scene, seen, heightOf, valueOf, jump) {
  const { axis, facts } = scene, { E } = facts, isDense = seen.length > DENSE;
  const stalls = facts.value.spans.playback.filter((span) => span.k === "stalled");
  const isStalled = (a, b) => stalls.some((span) => a >= span.a - 0.01 && b <= span.b + 0.01);
  const jumps = [];
  let from = seen[0], kind = null;
  for (let k = 1; k < seen.length; k++) {
    const before = seen[k - 1], i = seen[k], a = axis.x(E.t[from]), b = axis.x(E.t[i]), state = facts.state(before);
    const word = jump(before, i);
    if (isDense && !word && state === "content" && b - a < 1.2) continue; // the next one draws on from the same point
    const next = word ? "jump" : (isStalled(E.t[before], E.t[i]) ? "stalled" : state) + (facts.endsSilence.has(E.n[i]) ? " unheard" : "");
    if (next !== kind) {
      if (kind) g.stroke();
      kind = next;
      begin(g, scene, kind);
      g.moveTo(a, heightOf(from));
    }
    g.lineTo(b, heightOf(i));
    if (word) {
      const by = valueOf(i) - valueOf(before), words = `${word} ${by > 0 ? "+" : "−"}${lasted(Math.abs(by))}`;
      jumps.push({ words, a: { x: axis.x(E.t[before]), y: heightOf(before) }, b: { x: b, y: heightOf(i) } });
    }
    from = i;
  }
  if (kind) g.stroke();
  g.setLineDash([]);
  return jumps;
}

function begin(g, { colours }, kind) {
  const [state, unheard] = kind.split(" ");
  g.lineWidth = state === "jump" ? 1.3 : state === "stalled" || state === "ad" ? 4.2 : 2.2;
  g.strokeStyle = state === "jump" ? colours.ink : colours[COLOURS[state] ?? "faint"];
  g.setLineDash(state === "jump" ? [3, 3] : unheard ? [2, 4] : []);
  g.lineJoin = "round";
  g.beginPath();
}

// Label jumps at one of their sides: not on another label and, if there is such a place, not on the line.
function tellJumps(g, box, scene, jumps, line) {
  const { axis } = scene, told = [], xs = line.map(({ x }) => x);
  for (const { words, a, b } of jumps.slice(0, MOST_TOLD)) {
    const width = measured(g, scene, words, 11, 600), right = b.x + BESIDE, left = a.x - BESIDE - width, middle = (a.y + b.y) / 2;
    const above = Math.min(a.y, b.y) - LABEL_PX, below = Math.max(a.y, b.y) + LABEL_PX;
    const spots = [[right, middle], [left, middle], [right, below], [right, above], [left, above], [left, below]]
      .map(([x, y]) => ({ x, y, end: x + width }))
      .filter(({ x, y, end }) => x >= axis.left && end < axis.right && y > box.y + 4 && y < box.y + box.h - 4)
      .filter((spot) => !told.some((other) => spot.x < other.end + 4 && other.x < spot.end + 4 && Math.abs(spot.y - other.y) < LABEL_PX));
    const spot = spots.find((each) => !isOnLine(line, xs, each)) ?? spots[0];
    if (!spot) continue;
    write(g, scene, words, spot.x, spot.y, "ink", { weight: 600, size: 11 });
    told.push(spot);
  }
}

function isOnLine(line, xs, { x, y, end }) {
  for (let k = Math.max(1, lower(xs, x)); k < line.length && xs[k - 1] < end; k++) {
    const one = line[k - 1], other = line[k], part = (at) => (at - one.x) / (other.x - one.x || 1);
    const ys = [Math.max(x, one.x), Math.min(end, other.x)].map((at) => one.y + (other.y - one.y) * Math.min(1, Math.max(0, part(at))));
    if (Math.min(...ys) < y + LABEL_PX / 2 && Math.max(...ys) > y - LABEL_PX / 2) return true;
  }
  return false;
}

function drawDots(g, { axis, facts, colours }, seen, heightOf) {
  g.fillStyle = colours.bg;
  g.strokeStyle = colours.dim;
  g.lineWidth = 1;
  for (const i of seen) {
    if (facts.type(i) === "ping" && seen.length > WITH_PING_DOTS) continue;
    g.beginPath();
    g.arc(axis.x(facts.E.t[i]), heightOf(i), 2, 0, 7);
    g.fill();
    g.stroke();
  }
}
