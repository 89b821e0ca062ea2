// Strokes that several lanes use. A scene has `facts`, `axis`, `colours`, `width` and `height`; `isPaper` where nobody can zoom.
import { SHAPES } from "./icons.js";
import { visible } from "./words.js";

/**
 * Write a text on one line around `y`. Hidden characters in device text become visible here.
 *
 * `max` is the room in pixels: what does not fit is cut, or with `whole` left out.
 */
export function write(g, scene, text, x, y, colour, { align = "left", weight = 400, size = 11.5, max = Infinity, whole = false } = {}) {
  if (max < 14) return;
  g.font = `${weight} ${size}px ${scene.colours.font}`;
  const shown = fitted(g, visible(text), max, whole);
  if (!shown) return;
  g.fillStyle = scene.colours[colour];
  g.textAlign = align;
  g.textBaseline = "middle";
  g.fillText(shown, x, y);
}

function fitted(g, text, max, whole) {
  if (max === Infinity || g.measureText(text).width <= max) return text;
  if (whole) return "";
  const characters = [...text];
  let fits = 0, over = characters.length;
  while (fits + 1 < over) {
    const middle = (fits + over) >> 1;
    if (g.measureText(`${characters.slice(0, middle).join("")}…`).width <= max) fits = middle;
    else over = middle;
  }
  // Two letters of a long name say nothing.
  return fits < Math.min(6, characters.length * 0.6) ? "" : `${characters.slice(0, fits).join("")}…`;
}

/** How wide a text is. */
export function measured(g, scene, text, size, weight = 400) {
  g.font = `${weight} ${size}px ${scene.colours.font}`;
  return g.measureText(text).width;
}

/** A line from one point to another. */
export function stroke(g, colour, width, x1, y1, x2, y2, dash) {
  g.strokeStyle = colour;
  g.lineWidth = width;
  if (dash) g.setLineDash(dash);
  g.beginPath();
  g.moveTo(x1, y1);
  g.lineTo(x2, y2);
  g.stroke();
  if (dash) g.setLineDash([]);
}

/** A filled circle. */
export function dot(g, colour, x, y, radius) {
  g.fillStyle = colour;
  g.beginPath();
  g.arc(x, y, radius, 0, 7);
  g.fill();
}

/** A label with its own background at the top, kept inside the canvas. */
export function chip(g, scene, x, text, ground) {
  const width = measured(g, scene, text, 11, 600) + 10;
  const left = Math.min(Math.max(x - width / 2, scene.axis.left - 6), scene.width - width);
  g.fillStyle = scene.colours[ground];
  g.beginPath();
  g.roundRect(left, 0, width, 16, 3);
  g.fill();
  write(g, scene, text, left + width / 2, 8.5, "bg", { align: "center", weight: 600, size: 11 });
}

/** Each visible span, with its left edge and its width on the canvas. */
export function* seenSpans(axis, spans) {
  const from = axis.left - 6, to = axis.right + 8;
  for (const span of spans) {
    const a = axis.x(span.a), b = axis.x(span.b);
    if (b < from || a > to) continue;
    const left = Math.max(from, a);
    yield [span, left, Math.max(Math.min(to, b) - left, 1)];
  }
}

/** The sign of a severity. */
export function sign(g, scene, name, x, y, radius) {
  const [outline, mark] = SHAPES[name];
  g.save();
  g.translate(x - radius, y - radius);
  g.scale(radius / 8, radius / 8);
  g.fillStyle = scene.colours[name];
  g.fill(new Path2D(outline));
  g.strokeStyle = scene.colours.bg;
  g.lineWidth = 1.8;
  g.lineCap = "round";
  g.stroke(new Path2D(mark));
  g.restore();
}
