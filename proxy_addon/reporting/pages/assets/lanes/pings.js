// Pings as ticks: thick if they end a silence, hollow if they were due but did not come.
import { count } from "../words.js";

const MISSING_WIDTH = 4.4;

export const pingsLane = {
  id: "pings",
  name: "Pings",
  height: () => 18,
  note: ({ due, pings }) => (due.length ? [`${count(due.length)} missing`, "warning"] : count(pings.events.length)),
  isEmpty: ({ due, pings }) => !due.length && !pings.events.length,
  pick: ({ pings }) => pings.events,
  draw(g, { y, h }, { axis, facts, colours }) {
    const { E, endsSilence } = facts, top = y + 2, height = h - 4, seen = facts.pings.within(axis.view.a, axis.view.b);
    const isPlain = (i) => !facts.isRefused(i) && !endsSilence.has(E.n[i]);
    g.fillStyle = colours.content;
    g.globalAlpha = 0.55;
    let last = -Infinity;
    for (const i of seen) {
      const x = axis.x(E.t[i]);
      if (!isPlain(i) || x - last < 0.9) continue;
      last = x;
      g.fillRect(x - 0.6, top, 1.3, height);
    }
    g.globalAlpha = 1;
    for (const i of seen) {
      if (isPlain(i)) continue;
      g.fillStyle = facts.isRefused(i) ? colours.error : colours.buffering;
      g.fillRect(axis.x(E.t[i]) - 1.2, top - 2, 2.4, height + 4);
    }
    drawMissing(g, top, height, { axis, facts, colours });
  },
};

// Where missing pings would overlap, they become one bar.
function drawMissing(g, top, height, { axis, facts, colours }) {
  g.strokeStyle = colours.warning;
  g.lineWidth = 1.2;
  for (const silence of facts.value.silences) {
    const { due } = silence;
    if (!due.length) continue;
    const from = Math.max(axis.left, axis.x(due[0])), to = Math.min(axis.right, axis.x(due.at(-1)));
    if (to < axis.left || from > axis.right) continue;
    const apart = due.length > 1 ? (axis.x(due[1]) - axis.x(due[0])) : Infinity;
    if (apart < MISSING_WIDTH + 1.5) {
      g.beginPath();
      g.roundRect(from - MISSING_WIDTH / 2, top + 0.5, to - from + MISSING_WIDTH, height - 1, 2);
      g.stroke();
      continue;
    }
    for (const moment of due) {
      const x = axis.x(moment);
      if (x < axis.left || x > axis.right) continue;
      g.beginPath();
      g.roundRect(x - MISSING_WIDTH / 2, top + 0.5, MISSING_WIDTH, height - 1, 2);
      g.stroke();
    }
  }
}
