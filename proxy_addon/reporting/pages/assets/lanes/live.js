// How far a live session is behind, compared with the closest it has been to live: buffering falls back, catching up rises.
import { drawCurve } from "./curve.js";
import { lasted } from "../words.js";

export const liveLane = {
  id: "live",
  name: "Behind live",
  height: () => 132,
  note: () => "0 is the closest",
  isEmpty: ({ value, played }) => !value.live || played.events.length < 2,
  pick: ({ order }) => order.events,
  draw(g, box, scene) {
    const { E, played } = scene.facts;
    let nearest = -Infinity, furthest = Infinity;
    for (const i of played.events) {
      nearest = Math.max(nearest, E.p[i] - E.t[i]);
      furthest = Math.min(furthest, E.p[i] - E.t[i]);
    }
    drawCurve(g, box, scene, {
      valueOf: (i) => E.p[i] - E.t[i] - nearest,
      range: [Math.min((furthest - nearest) * 1.15, -5), 0.5],
      label: (value) => (Math.abs(value) < 1e-9 ? "0 s" : `−${lasted(-value)}`),
      jump: () => "",
    });
  },
};
