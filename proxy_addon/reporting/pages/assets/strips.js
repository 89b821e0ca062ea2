// A session in 160 pixels: its playback, and where findings are.
import { esc } from "./words.js";

const STRIP_SIZE = { width: 160, height: 14 };

/** The strip of a session as markup: an SVG whose colours are those of the lanes. Empty for a session without one. */
export function stripMarkup(drawn) {
  if (!drawn || !(drawn.end_s > 0)) return "";
  const x = (seconds) => +Math.max(0, Math.min(STRIP_SIZE.width, (seconds / drawn.end_s) * STRIP_SIZE.width)).toFixed(1);
  // Trouble is told by its height, too, not by its colour alone.
  const bars = drawn.playback.map(({ a, b, k }) => {
    const [y, height] = k === "stalled" || k === "buffering" ? [1, 12] : [3, 8];
    return `<rect class="c-${esc(k)}" x="${x(a)}" y="${y}" width="${+Math.max(0.5, x(b) - x(a)).toFixed(1)}" height="${height}"/>`;
  });
  const ticks = drawn.ticks.map(([at, severity]) =>
    `<path class="s-${esc(severity)}" d="M${+Math.max(1, Math.min(STRIP_SIZE.width - 1, x(at))).toFixed(1)} 0v${STRIP_SIZE.height}"/>`);
  const { width, height } = STRIP_SIZE;
  return `<svg class="strip" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" preserveAspectRatio="none" aria-hidden="true">` +
    `<rect class="track" y="3" width="${width}" height="8"/>${bars.join("")}${ticks.join("")}</svg>`;
}
