// The lanes of a session and what is around them: the axis, names and scales, silences behind them, and the present.
import { stepFor, ticks } from "./axis.js";
import { chip, measured, stroke, write } from "./painting.js";
import { clock } from "./words.js";

/** The height of the axis. */
export const TOP = 20;
const GAP = 7;

const LABEL_PX = 62, LONG_SILENCE_S = 60, TWO_LINES = 30, NARROW = 560;

/** Leave room for names before the axis and for scales behind it. */
export function fitAxis(axis, width) {
  axis.left = width < NARROW ? 74 : 138;
  axis.right = Math.max(axis.left + 10, width - 46);
}

/** The lanes in which there is something, each with its place, and the height of all. */
export function placeLanes(lanes, facts) {
  let y = TOP;
  const boxes = lanes.filter((lane) => !lane.isEmpty?.(facts)).map((lane) => {
    const box = { lane, y, h: lane.height(facts), scale: [], places: null };
    y += box.h + GAP;
    return box;
  });
  return [boxes, y];
}

/** Draw lanes as of `placeLanes`; `now` is null for a session that is over. */
export function drawLanes(g, scene, boxes, now) {
  const { axis, height, width } = scene;
  g.clearRect(0, 0, width, height);
  drawGrid(g, scene);
  for (const box of boxes) drawName(g, scene, box);
  g.save();
  g.beginPath();
  g.rect(axis.left - 8, 0, axis.right - axis.left + 16, height);
  g.clip();
  const highest = boxes.reduce((one, other) => (other.h > one.h ? other : one));
  drawSilences(g, scene, boxes.find(({ lane }) => lane.id === "events") ?? highest);
  if (now !== null) drawFuture(g, scene, now);
  for (const box of boxes) {
    box.scale = [];
    box.lane.draw(g, box, scene);
  }
  g.restore();
  for (const box of boxes) drawScale(g, scene, box);
  if (now !== null) drawNow(g, scene, now);
}

// Round times above, each with a line through all lanes.
function drawGrid(g, scene) {
  const { axis, colours: { grid }, height } = scene, { a, b } = axis.view;
  for (const [time, label] of ticks(a, b, stepFor(axis.perSecond, LABEL_PX))) {
    const x = Math.round(axis.x(time)) + 0.5;
    if (x < axis.left || x > axis.right + 1) continue;
    stroke(g, grid, 1, x, TOP - 4, x, height);
    write(g, scene, label, x, 8, "dim", { align: "center" });
  }
}

// The name of a lane, and one fact beside or below it.
function drawName(g, scene, { lane, y, h }) {
  const { axis: { left }, colours: { line }, facts, width } = scene, isNarrow = left < 100, middle = y + h / 2;
  const [note, tone = "dim"] = [lane.note(facts)].flat(), name = isNarrow ? lane.short ?? lane.name : lane.name;
  g.fillStyle = line;
  g.fillRect(0, Math.round(y + h + GAP / 2), width, 0.6);
  const isBelow = h >= TWO_LINES && note && measured(g, scene, note, 11) <= left - 6;
  write(g, scene, name, 0, isBelow ? middle - 7 : middle, "ink", { weight: 600, size: 12, max: left - 8 });
  if (isBelow) write(g, scene, note, 0, middle + 8, tone, { size: 11 });
  else if (note && !isNarrow) {
    const room = left - 22 - measured(g, scene, name, 12, 600);
    write(g, scene, note, left - 12, middle, tone, { size: 11, align: "right", max: room, whole: true });
  }
}

// The labels of a lane's scale, to its right.
function drawScale(g, scene, { scale }) {
  const left = scene.axis.right + 10, max = scene.width - scene.axis.right - 8;
  for (const [y, label, colour] of scale) {
    write(g, scene, label, left, y, colour ?? "faint", { size: 10.5, weight: colour ? 600 : 400, max });
  }
}

// Long silences: bands through all lanes, with a label in one of them.
function drawSilences(g, scene, { y, h }) {
  const { axis, colours: { warnbg }, facts, height } = scene;
  for (const silence of facts.value.silences) {
    const a = axis.x(silence.a), b = axis.x(silence.b);
    if (silence.b - silence.a <= LONG_SILENCE_S || b < axis.left || a > axis.right) continue;
    g.fillStyle = warnbg;
    g.globalAlpha = 0.75;
    g.fillRect(a, TOP, b - a, height - TOP);
    g.globalAlpha = 1;
    const words = silence.s < 600 ? `${Math.round(silence.s)} s of silence` : `${clock(silence.s)} of silence`;
    const from = Math.max(a, axis.left), to = Math.min(b, axis.right), style = { align: "center", weight: 600, whole: true };
    write(g, scene, words, (from + to) / 2, y + h / 2, "warning", { ...style, max: to - from - 6 });
  }
}

// The time after the present.
function drawFuture(g, { axis, colours: { panel }, height, width }, now) {
  g.fillStyle = panel;
  g.fillRect(axis.x(now), TOP, width, height);
}

// The present.
function drawNow(g, scene, now) {
  const { axis, colours: { pass }, height } = scene, x = axis.x(now);
  if (x < axis.left || x > axis.right + 8) return;
  stroke(g, pass, 1.5, x, TOP - 6, x, height);
  chip(g, scene, x, "now", "pass");
}
