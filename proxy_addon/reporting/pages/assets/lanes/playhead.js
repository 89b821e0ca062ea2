// The playhead against time: a seek is a jump, an ad a plateau, a stall a thick red line.
import { tickLabel } from "../axis.js";
import { drawCurve } from "./curve.js";
import { stroke } from "../painting.js";
import { clock } from "../words.js";

const DAY_S = 86_400;

export const playheadLane = {
  id: "playhead",
  name: "Playhead",
  height: () => 132,
  note: ({ value }) => (value.media_length_s ? `of ${clock(value.media_length_s)}` : ""),
  isEmpty: ({ value, played }) => value.live || played.events.length < 2,
  pick: ({ order }) => order.events,
  draw(g, box, scene) {
    const { axis, facts, colours } = scene, { E } = facts, length = facts.value.media_length_s;
    const range = playheads(facts);
    const heightOf = drawCurve(g, box, scene, {
      valueOf: (i) => E.p[i], range, label: tickLabel, jump: (i, j) => jumped(facts, i, j),
    });
    if (!length || length > range[1] || heightOf(length) < box.y - 2) return;
    const at = Math.round(heightOf(length)) + 0.5;
    stroke(g, colours.faint, 1, axis.left, at, axis.right, at, [6, 3]);
    box.scale = box.scale.filter(([y]) => Math.abs(y - at) > 13);
    box.scale.push([at, clock(length), "ink"]);
  },
};

// Up to the length of the media, unless so little of it was seen that the line would be flat.
function playheads({ E, played, value: { media_length_s: length } }) {
  let low = 0, high = 0;
  for (const i of played.events) {
    low = Math.min(low, E.p[i]);
    high = Math.max(high, E.p[i]);
  }
  return [low, length && length < DAY_S && high > length * 0.5 ? Math.max(high, length) : high || 1];
}

function jumped(facts, i, j) {
  const { E } = facts, moved = E.p[j] - E.p[i], passed = E.t[j] - E.t[i];
  if (moved >= -1 && moved <= 2 * passed + 1.5) return "";
  const isSeek = facts.type(i) === "pauseStart" || (facts.type(j) === "play" && facts.state(i) === "paused");
  return isSeek ? "seek" : "jump";
}
