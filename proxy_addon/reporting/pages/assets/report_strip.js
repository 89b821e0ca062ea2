// A session in 160 pixels: its playback, and where findings are.
import { esc } from "./words.js";

const STRIP_SIZE = { width: 160, height: 14 };

/** The strip of a session as markup: an SVG whose colours are those of the lanes. Empty for a session without one. */
export function reportStrip(drawn) {
  if (!drawn || !(drawn.end_s > 0)) return "";
  const x = (seconds) => +Math.max(0, Math.min(STRIP_SIZE.width, (seconds / drawn.end_s) * STRIP_SIZE.width)).toFixed(1);
  const bars = drawn.playback.map(({ a, b, k }) =>
    `<rect class="c-${esc(k)}" x="${x(a)}" y="3" width="${+Math.max(0.5, x(b) - x(a)).toFixed(1)}" height="8"/>`);
  const ticks = drawn.ticks.map(([at, severity]) =>
    `<path class="s-${esc(severity)}" d="M${+Math.max(1, Math.min(STRIP_SIZE.width - 1, x(at))).toFixed(1)} 0v${STRIP_SIZE.height}"/>`);
  return `<svg class="strip" viewBox="0 0 ${STRIP_SIZE.width} ${STRIP_SIZE.height}" width="${STRIP_SIZE.width}" height="${STRIP_SIZE.height}" ` +
    `aria-hidden="true"><rect class="track" y="3" width="${STRIP_SIZE.width}" height="8"/>${bars.join("")}${ticks.join("")}</svg>`;
}
