// All events but pings: marks, or columns of counts where there is no room for marks.
import { drawMark, drawRing } from "../marks.js";
import { write } from "../painting.js";
import { count } from "../words.js";

const ROWS = 4, APART = 11.5, PER_MARK = 7, PER_NAME = 60, COLUMN = 4;
const COLUMN_COLOURS = ["content", "ad", "error"];

export const eventsLane = {
  id: "events",
  name: "Events",
  height: () => 46,
  isEmpty: ({ others }) => !others.events.length,
  note: ({ others }) => `${count(others.events.length)} without pings`,
  pick: ({ others }) => others.events,
  draw(g, box, scene) {
    const { axis, facts } = scene, { a, b } = axis.view;
    const seen = facts.others.within(a, b);
    box.places = null;
    if (seen.length * PER_MARK > axis.right - axis.left) drawColumns(g, box, scene, seen);
    else drawMarks(g, box, scene, seen);
  },
};

function drawColumns(g, { y, h }, scene, seen) {
  const { axis, facts, colours, isPaper } = scene, columns = new Map();
  let most = 1;
  for (const i of seen) {
    const at = Math.floor((axis.x(facts.E.t[i]) - axis.left) / COLUMN), type = facts.type(i);
    const counts = columns.get(at) ?? [0, 0, 0];
    counts[facts.isRefused(i) || type === "error" ? 2 : type.startsWith("ad") ? 1 : 0]++;
    columns.set(at, counts);
    most = Math.max(most, counts[0] + counts[1] + counts[2]);
  }
  for (const [at, counts] of columns) {
    let top = y + h;
    counts.forEach((number, kind) => {
      const height = (number / most) * h;
      top -= height;
      g.fillStyle = colours[COLUMN_COLOURS[kind]];
      g.fillRect(axis.left + at * COLUMN, top, COLUMN - 1, height);
    });
  }
  const line = isPaper || axis.right - axis.left < 420 ? `up to ${most}` : `up to ${most} per column – zoom in to see each`;
  write(g, scene, line, axis.right - 6, y + 6, "faint", { align: "right", size: 10.5 });
}

function drawMarks(g, box, scene, seen) {
  const { axis, facts, colours } = scene, { y } = box;
  // Events of one time are stacked; from the fifth on, they cover the fourth.
  const ends = Array(ROWS).fill(-Infinity), placed = [];
  for (const i of seen) {
    const x = axis.x(facts.E.t[i]), free = ends.findIndex((end) => x - end >= APART), row = free < 0 ? ROWS - 1 : free;
    ends[row] = x;
    if (x > axis.left - 8 && x < axis.right + 8) placed.push([i, x, y + 6 + row * 11.4, row]);
  }
  box.places = placed;
  const hasRoom = placed.length * PER_NAME < axis.right - axis.left;
  placed.forEach(([i, x, at, row], k) => {
    drawMark(g, colours, facts.type(i), x, at);
    if (facts.isRefused(i)) drawRing(g, colours, x, at);
    if (!hasRoom) return;
    const next = placed.find((other, position) => position > k && other[3] === row);
    const room = (next ? next[1] : axis.right) - x - 18;
    if (room > 40) write(g, scene, `${facts.type(i)} ${facts.name(i)}`.trim(), x + 11, at, "dim", { size: 11, max: room });
  });
}
