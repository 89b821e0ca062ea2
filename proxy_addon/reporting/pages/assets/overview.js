// The strip of the whole session above the lanes, with a window to drag by its middle or its edges.
import { SEVERITIES } from "./icons.js";
import { fillState, isHair } from "./lanes/playback.js";
import { write } from "./painting.js";

export const OVERVIEW_HEIGHT = 34;
const LONG_SILENCE_S = 60, GRIP = 7;

/** Draw the strip. */
export function drawOverview(g, scene) {
  const { axis, facts, colours, width } = scene, h = OVERVIEW_HEIGHT, { left, right } = axis;
  const perSecond = (right - left) / (axis.full.b - axis.full.a);
  g.clearRect(0, 0, width, h);
  write(g, scene, left < 100 ? "All" : "Whole session", 0, h / 2, "dim", { size: 12, max: left - 8 });
  for (const span of facts.value.spans.playback) {
    if (isHair(span, perSecond)) continue;
    fillState(g, colours, span.k, axis.xOfAll(span.a), 11, (span.b - span.a) * perSecond, 14);
  }
  g.fillStyle = colours.bg;
  for (const silence of facts.value.silences) {
    if (silence.b - silence.a > LONG_SILENCE_S) g.fillRect(axis.xOfAll(silence.a), 14, (silence.b - silence.a) * perSecond, 8);
  }
  for (const { i, severity } of facts.flags) {
    if (SEVERITIES[severity] === "info") continue;
    g.fillStyle = colours[SEVERITIES[severity]];
    g.fillRect(axis.xOfAll(facts.E.t[i]) - 1, 3, 2.4, 26);
  }
  drawWindow(g, scene, axis.xOfAll(axis.view.a), axis.xOfAll(axis.view.b));
}

function drawWindow(g, { axis: { left, right }, colours }, a, b) {
  const h = OVERVIEW_HEIGHT;
  g.fillStyle = colours.bg;
  g.globalAlpha = 0.62;
  g.fillRect(left, 0, a - left, h);
  g.fillRect(b, 0, right - b + 2, h);
  g.globalAlpha = 1;
  g.strokeStyle = colours.dim;
  g.lineWidth = 1;
  g.beginPath();
  g.roundRect(a + 0.5, 1.5, Math.max(6, b - a - 1), h - 3, 3);
  g.stroke();
  if (b - a >= right - left - 2) return;
  g.fillStyle = colours.dim;
  for (const edge of [a, b]) {
    g.beginPath();
    g.roundRect(edge - 2.5, h / 2 - 7, 5, 14, 2);
    g.fill();
  }
}

/** Let the pointer move the window; `changed` is called after the axis shows something else. */
export function steerOverview(canvas, axis, changed) {
  let drag = null;
  const xOf = (event) => event.clientX - canvas.getBoundingClientRect().left;

  canvas.addEventListener("pointerdown", (event) => {
    const x = xOf(event), time = axis.timeOfAll(x), { a, b } = axis.view;
    canvas.setPointerCapture(event.pointerId);
    if (Math.abs(x - axis.xOfAll(a)) < GRIP) drag = { edge: "a" };
    else if (Math.abs(x - axis.xOfAll(b)) < GRIP) drag = { edge: "b" };
    else if (time > a && time < b && !axis.isWhole) drag = { held: time, a, b };
    else drag = { from: time };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const time = axis.timeOfAll(xOf(event)), { a, b } = axis.view;
    if (drag.edge === "a") axis.show(Math.min(time, b - 0.1), b);
    else if (drag.edge === "b") axis.show(a, Math.max(time, a + 0.1));
    else if (drag.held !== undefined) axis.show(drag.a + time - drag.held, drag.b + time - drag.held);
    else if (Math.abs(time - drag.from) > (axis.full.b - axis.full.a) * 0.004) axis.show(Math.min(time, drag.from), Math.max(time, drag.from));
    else return;
    changed();
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { drag = null; });
  canvas.addEventListener("dblclick", () => { axis.show(axis.full.a, axis.full.b); changed(); });
  canvas.addEventListener("wheel", (event) => {
    axis.zoom(Math.exp(event.deltaY * 0.0016), axis.timeOfAll(xOf(event)));
    changed();
    event.preventDefault();
  }, { passive: false });
}
