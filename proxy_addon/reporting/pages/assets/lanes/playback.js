// What goes on: the states that reports count.
import { hatch } from "../colours.js";
import { measured, seenSpans, write } from "../painting.js";

const NAMES = { content: "playing", ad: "ad", paused: "paused", over: "over", stalled: "stalled", buffering: "buffering" };
const INKS = { content: "contentink", ad: "adink" };
const TROUBLE = new Set(["buffering", "stalled"]);
const HAIR_PX = 0.6;

export const playbackLane = {
  id: "playback",
  name: "Playback",
  height: () => 22,
  note: () => "",
  isEmpty: ({ value }) => !value.spans.playback.length,
  bands: ({ value }) => value.spans.playback,
  draw(g, { y, h }, scene) {
    const { axis, facts, colours } = scene;
    for (const [span, left, width] of seenSpans(axis, facts.value.spans.playback)) {
      if (isHair(span, axis.perSecond)) continue;
      fillState(g, colours, span.k, left, y, width, h);
      if (TROUBLE.has(span.k) && width > 3) {
        g.strokeStyle = colours[span.k];
        g.lineWidth = 1;
        g.strokeRect(left + 0.5, y + 0.5, width - 1, h - 1);
      }
      veil(g, scene, left, y, width, h);
      if (NAMES[span.k] && width > 44) nameState(g, scene, span.k, left, y, width, h);
    }
  },
};

/** The moment of content between two ads: too short to be seen, and a line would look like trouble. */
export function isHair(span, perSecond) {
  return span.k === "content" && (span.b - span.a) * perSecond < HAIR_PX;
}

/** Fill a stretch with the colour of a state. Edges are whole pixels, so that neighbours leave no seam. */
export function fillState(g, colours, state, left, y, width, h) {
  g.fillStyle = TROUBLE.has(state) ? hatch(g, colours, state) : colours[state] ?? colours.starting;
  const from = Math.floor(left);
  g.fillRect(from, y, Math.max(1, Math.ceil(left + width) - from), h);
}

// During a silence the state is a guess, so it is paler.
function veil(g, { axis, facts, colours }, left, y, width, h) {
  g.fillStyle = colours.bg;
  g.globalAlpha = 0.5;
  for (const silence of facts.value.silences) {
    const a = Math.max(left, axis.x(silence.a)), b = Math.min(left + width, axis.x(silence.b));
    if (b > a) g.fillRect(a, y, b - a, h);
  }
  g.globalAlpha = 1;
}

function nameState(g, scene, state, left, y, width, h) {
  const style = { align: "center", weight: 600, size: 11 }, middle = left + width / 2, name = NAMES[state];
  if (!TROUBLE.has(state)) {
    write(g, scene, name, middle, y + h / 2, INKS[state] ?? "ink", { ...style, max: width - 8, whole: true });
    return;
  }
  const room = measured(g, scene, name, 11, 600) + 8;
  if (room > width - 4) return;
  g.fillStyle = scene.colours.bg;
  g.fillRect(middle - room / 2, y + 4, room, h - 8);
  write(g, scene, name, middle, y + h / 2, state, style);
}
