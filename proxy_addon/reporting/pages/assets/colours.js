// Colours for the canvas. They come from the style sheet, which alone decides about light, dark and print.

const NAMES = [
  "bg", "panel", "raise", "ink", "dim", "faint", "line", "grid",
  "content", "contentink", "ad", "adink", "paused", "buffering", "stalled", "starting",
  "chapter", "chapterink", "state", "stateink", "error", "warning", "info", "pass", "warnbg",
];

/** The current colours by the names of the style sheet's variables, and `font`. */
export function colours() {
  const probe = document.createElement("i"), found = { hatched: new Map() };
  document.body.append(probe);
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  found.font = getComputedStyle(document.body).fontFamily;
  probe.remove();
  return found;
}

/** A pattern of slanting lines in one of the colours; hatching means trouble. */
export function hatch(g, colours, name) {
  const known = colours.hatched.get(name);
  if (known) return known;
  const scale = devicePixelRatio || 1, tile = document.createElement("canvas"), size = Math.round(6 * scale);
  tile.width = tile.height = size;
  const paint = tile.getContext("2d");
  paint.strokeStyle = colours[name];
  paint.lineWidth = 2.4 * scale;
  for (const shift of [-size, 0, size]) {
    paint.beginPath();
    paint.moveTo(shift - 1, size + 1);
    paint.lineTo(shift + size + 1, -1);
    paint.stroke();
  }
  const pattern = g.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / scale));
  colours.hatched.set(name, pattern);
  return pattern;
}
