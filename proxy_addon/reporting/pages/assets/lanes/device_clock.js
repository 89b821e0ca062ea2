// How far each arrival is behind the device's clock, around the median.
import { dot, stroke, write } from "../painting.js";
import { lasted } from "../words.js";

const DENSE = 1500, MOST_TOLD = 6, LATE_S = 1;

export const clockLane = {
  id: "clock",
  name: "Device clock",
  short: "Clock",
  height: () => 42,
  note({ value: { skew_median_ms: median } }) {
    const by = Math.abs(median) < 1000 ? `${Math.abs(Math.round(median))} ms` : lasted(Math.abs(median) / 1000);
    return `${by} ${median < 0 ? "ahead" : "behind"}`;
  },
  isEmpty: ({ value, size }) => value.batch || size < 2,
  pick: ({ order }) => order.events,
  draw(g, box, scene) {
    const { axis, facts, colours } = scene, { E, skews } = facts, { y, h } = box, median = facts.value.skew_median_ms / 1000;
    let least = Infinity, most = -Infinity;
    for (const skew of skews) {
      least = Math.min(least, skew);
      most = Math.max(most, skew);
    }
    const margin = Math.max(0.5, (most - least) * 0.1), low = Math.min(least, median - margin), high = Math.max(most, median + margin);
    const heightOf = (skew) => y + h - 3 - ((skew - low) / (high - low)) * (h - 6), middle = Math.round(heightOf(median)) + 0.5;
    stroke(g, colours.line, 1, axis.left, middle, axis.right, middle);
    box.scale.push([middle, `${median < 0 ? "−" : "+"}${lasted(Math.abs(median))}`]);
    const seen = facts.order.within(axis.view.a, axis.view.b);
    g.fillStyle = colours.dim;
    let last = -Infinity;
    for (const i of seen) {
      const x = axis.x(E.t[i]);
      if (seen.length > DENSE && x - last < 1 && Math.abs(skews[i] - median) < 0.3) continue;
      last = x;
      g.fillRect(x - 1, heightOf(skews[i]) - 1, 2, 2);
    }
    const late = seen.filter((i) => skews[i] - median > LATE_S);
    for (const i of late) {
      const x = axis.x(E.t[i]), at = heightOf(skews[i]);
      dot(g, colours.warning, x, at, 2.8);
      if (late.length > MOST_TOLD) continue;
      const words = `arrived ${(skews[i] - median).toFixed(1)} s late`;
      write(g, scene, words, x + 6, at + (at < y + 8 ? 4 : 0), "warning", { size: 10.5, max: axis.right - x - 8, whole: true });
    }
  },
};
