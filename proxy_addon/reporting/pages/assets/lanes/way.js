// Lines from the device's time, above, to the arrival, below: upright if quick, slanted if slow, crossing others if overtaken.
import { dot, stroke, write } from "../painting.js";
import { signed } from "../words.js";

export const wayLane = {
  id: "way",
  name: "On the way",
  height: () => 20,
  note: () => "",
  isEmpty: ({ value }) => value.batch,
  pick: ({ order }) => order.events,
  draw(g, { y, h }, scene) {
    const { axis, facts, colours } = scene, { E, overtaken } = facts, seen = facts.order.within(axis.view.a, axis.view.b);
    g.strokeStyle = colours.faint;
    g.lineWidth = 0.8;
    g.globalAlpha = 0.55;
    g.beginPath();
    let last = -Infinity;
    for (const i of seen) {
      const x = axis.x(E.t[i]), isSlow = E.a[i] - E.t[i] > 1;
      if (overtaken.has(i) || (x - last < 1.5 && !isSlow)) continue;
      last = x;
      g.moveTo(x, y);
      g.lineTo(axis.x(E.a[i]), y + h);
    }
    g.stroke();
    g.globalAlpha = 1;
    for (const i of seen) {
      if (!overtaken.has(i)) continue;
      const from = axis.x(E.t[i]), to = axis.x(E.a[i]);
      stroke(g, colours.warning, 1.8, from, y, to, y + h);
      dot(g, colours.warning, to, y + h, 2.2);
      if (to - from > 4) write(g, scene, `${signed(E.a[i] - E.t[i], 1)} s`, to + 6, y + h - 6, "warning", { size: 10.5, weight: 600 });
    }
  },
};
