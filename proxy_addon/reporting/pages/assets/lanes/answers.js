// Answers at the arrival of their requests, higher the longer they took; refusals stand out with their status.
import { dot, measured, stroke, write } from "../painting.js";
import { ms } from "../words.js";

const QUICKEST_MS = 5, LABEL = 15;
const GRID = [[10, "10 ms"], [100, "100 ms"], [1000, "1 s"], [10_000, "10 s"]];

export const answersLane = {
  id: "answers",
  name: "Answers",
  height: () => 58,
  note: ({ latencies, quantile }) => (latencies.length ? `${ms(quantile(0.5))}, worst ${ms(quantile(1))}` : "none"),
  isEmpty: ({ value }) => value.batch,
  pick: ({ arrivals }) => arrivals.events,
  byArrival: true,
  draw(g, box, scene) {
    const { axis, facts, colours } = scene, { E, latencies } = facts, { y, h } = box;
    const worst = Math.max(1000, latencies.at(-1) ?? 0), base = y + h - 3;
    const heightOf = (took) => base - (Math.log(Math.max(took, QUICKEST_MS) / QUICKEST_MS) / Math.log(worst / QUICKEST_MS)) * (h - 18);
    for (const [took, label] of GRID) {
      if (took > worst) break;
      const at = Math.round(heightOf(took)) + 0.5;
      stroke(g, colours.grid, 1, axis.left, at, axis.right, at);
      box.scale.push([at, axis.left < 100 ? label.replace(" ms", "") : label]);
    }
    const seen = facts.arrivals.within(axis.view.a, axis.view.b), isTaken = (i) => !facts.isRefused(i);
    if (seen.length > (axis.right - axis.left) / 3) drawDense(g, scene, seen.filter(isTaken), base, heightOf);
    else drawEach(g, scene, seen.filter(isTaken), base, heightOf);
    for (const i of seen) if (!isTaken(i)) drawRefused(g, scene, E.s[i], axis.x(E.a[i]), y, base);
  },
};

// The worst of each pixel.
function drawDense(g, { axis, facts: { E }, colours }, seen, base, heightOf) {
  const worst = new Map();
  for (const i of seen) {
    const x = Math.round(axis.x(E.a[i]));
    worst.set(x, Math.max(worst.get(x) ?? 0, E.d[i] ?? 0));
  }
  g.fillStyle = colours.content;
  g.globalAlpha = 0.6;
  for (const [x, took] of worst) g.fillRect(x, heightOf(took), 1, base - heightOf(took));
  g.globalAlpha = 1;
}

function drawEach(g, { axis, facts: { E }, colours }, seen, base, heightOf) {
  for (const i of seen) {
    const x = axis.x(E.a[i]), top = heightOf(E.d[i] ?? QUICKEST_MS);
    g.globalAlpha = 0.45;
    stroke(g, colours.content, 1, x, base, x, top);
    g.globalAlpha = 1;
    dot(g, colours.content, x, top, 2);
  }
}

function drawRefused(g, scene, status, x, y, base) {
  const { axis, colours } = scene, word = status ? String(status) : "none";
  if (x < axis.left - 20 || x > axis.right + 20) return;
  stroke(g, colours.error, 1.4, x, base, x, y + 12);
  const width = measured(g, scene, word, 10.5, 700) + 8;
  g.fillStyle = status ? colours.error : colours.bg;
  g.beginPath();
  g.roundRect(x - width / 2, y - 2, width, LABEL, 3);
  g.fill();
  if (!status) {
    g.setLineDash([2, 2]);
    g.stroke();
    g.setLineDash([]);
  }
  write(g, scene, word, x, y + 6, status ? "bg" : "error", { align: "center", weight: 700, size: 10.5 });
}
