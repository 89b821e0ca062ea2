// Two sessions on one time axis: the lanes of the first grow up from the middle, those of the second down, and hairlines
// join the events that belong together.
import { colours } from "./colours.js";
import { drawMirrored, layoutOf } from "./mirrored_drawing.js";
import { clock, cut, esc, visible } from "./words.js";

const NARROW = 560;
const NEAR_PX = 8;
const SHORTEST_S = 0.05;

/**
 * Put the lanes of a comparison into an element.
 *
 * `onPick(row)` is called when a pair is chosen. Returns `pick(row, isShown)`, `align(shift)`, `zoom(factor)`, `fit()`,
 * `repaint()` and `destroy()`.
 */
export function mirroredLanes(box, value, { onPick }) {
  const sides = value.sides.map(sideOfLanes);
  const pairs = value.rows.map(([a, b, kind, counts], row) => ({ row, a: sides[0].at.get(a), b: sides[1].at.get(b), kind, counts }));
  const name = `Timeline of both sessions. ${value.verdict.headline} The table below has the same events.`;
  box.classList.add("mirror");
  box.innerHTML = `<canvas tabindex="0" role="application" aria-label="${esc(name)}"></canvas><canvas class="over" aria-hidden="true"></canvas><div class="card" hidden></div>`;
  const [canvas, over, card] = box.children;
  const plot = { sides, pairs, value, shift: 0, picked: -1, view: { a: 0, b: 1 }, width: 0, left: 0, right: 0, lanes: [], height: 0, colours: colours() };
  plot.x = (t) => plot.left + ((t - plot.view.a) / (plot.view.b - plot.view.a)) * (plot.right - plot.left);
  plot.timeAt = (px) => plot.view.a + ((px - plot.left) / (plot.right - plot.left)) * (plot.view.b - plot.view.a);
  /** Where the event of a side is on the axis. */
  plot.t = (side, k) => sides[side].events.t[k] + (side ? plot.shift : 0);
  let due = 0, hover = null, drag = null;

  function whole() {
    const begin = Math.min(0, plot.shift), end = Math.max(sides[0].end, sides[1].end + plot.shift, begin + 1), margin = (end - begin) * 0.008;
    return { a: begin - margin, b: end + margin };
  }

  function size() {
    plot.width = box.clientWidth;
    plot.left = plot.width < NARROW ? 74 : 138;
    plot.right = plot.width - (plot.width < NARROW ? 38 : 58);
    [plot.lanes, plot.height] = layoutOf(plot);
    const scale = devicePixelRatio || 1;
    for (const each of [canvas, over]) {
      each.width = Math.round(plot.width * scale);
      each.height = Math.round(plot.height * scale);
      each.style.width = `${plot.width}px`;
      each.style.height = `${plot.height}px`;
      each.getContext("2d").setTransform(scale, 0, 0, scale, 0, 0);
    }
    redraw();
  }

  function redraw() {
    due ||= requestAnimationFrame(() => {
      due = 0;
      drawMirrored(canvas.getContext("2d"), plot);
      drawOver();
    });
  }

  function drawOver() {
    const g = over.getContext("2d"), c = plot.colours;
    g.clearRect(0, 0, plot.width, plot.height);
    if (hover != null) {
      g.strokeStyle = c.faint;
      g.lineWidth = 1;
      g.setLineDash([3, 3]);
      g.beginPath();
      g.moveTo(hover, 18);
      g.lineTo(hover, plot.height);
      g.stroke();
      g.setLineDash([]);
      chipAt(g, hover, clock(plot.timeAt(hover), plot.view.b - plot.view.a < 60 ? 2 : 0), c.dim);
    }
    const pair = pairs[plot.picked];
    if (pair) chipAt(g, plot.x(timeOf(pair)), numbersOf(pair), c.ink);
  }

  function chipAt(g, px, text, back) {
    if (px < plot.left - 8 || px > plot.right + 8) return;
    g.font = `600 11px ${plot.colours.font}`;
    const width = g.measureText(text).width + 10, from = Math.min(Math.max(px - width / 2, plot.left - 6), plot.width - width);
    g.fillStyle = back;
    g.beginPath();
    g.roundRect(from, 0, width, 16, 3);
    g.fill();
    g.fillStyle = plot.colours.bg;
    g.textAlign = "center";
    g.textBaseline = "middle";
    g.fillText(text, from + width / 2, 8.5);
  }

  const timeOf = (pair) => (pair.a == null ? plot.t(1, pair.b) : plot.t(0, pair.a));
  const numbersOf = ({ a, b }) => [a, b].map((k, side) => (k == null ? "–" : `#${sides[side].events.n[k]}`)).join(" · ");

  function show(a, b) {
    const all = whole(), width = Math.min(Math.max(b - a, SHORTEST_S), all.b - all.a);
    plot.view.a = Math.max(all.a, Math.min(a, all.b - width));
    plot.view.b = plot.view.a + width;
    redraw();
  }

  const zoomAt = (factor, t) => show(t - (t - plot.view.a) * factor, t + (plot.view.b - t) * factor);
  const moveBy = (share) => show(plot.view.a + (plot.view.b - plot.view.a) * share, plot.view.b + (plot.view.b - plot.view.a) * share);

  /** The pairs near a point, the nearest first: of the side that it is in, or of both. */
  function near(px, py) {
    const lane = plot.lanes.find(({ y, h }) => py >= y - 3 && py < y + h + 4);
    if (!lane) return [];
    const reach = (pair) => {
      const places = [0, 1].filter((side) => lane.side == null || lane.side === side).map((side) => (side ? pair.b : pair.a) == null ? Infinity : Math.abs(plot.x(plot.t(side, side ? pair.b : pair.a)) - px));
      return Math.min(...places);
    };
    return pairs.map((pair) => [reach(pair), pair]).filter(([far]) => far <= NEAR_PX).sort((one, other) => one[0] - other[0] || other[1].counts - one[1].counts).map(([, pair]) => pair);
  }

  function tell(event) {
    const { offsetX: px, offsetY: py } = event;
    hover = px >= plot.left && px <= plot.right ? px : null;
    const found = hover == null ? [] : near(px, py);
    card.hidden = !found.length;
    if (found.length) {
      card.innerHTML = found.slice(0, 5).map(cardLine).join("") + (found.length > 5 ? `<p class="dim">and ${found.length - 5} more here</p>` : "");
      card.style.left = `${Math.min(px + 14, Math.max(0, plot.width - card.offsetWidth - 4))}px`;
      card.style.top = `${py + 18}px`;
    }
    canvas.style.cursor = found.length ? "pointer" : drag ? "grabbing" : "default";
    drawOver();
  }

  function cardLine(pair) {
    const [, , kind, counts, unlike] = value.rows[pair.row];
    const lines = [0, 1].map((side) => {
      const k = side ? pair.b : pair.a, { label, events, kinds } = sides[side];
      return k == null ? "" : `<p><span class="label">${esc(label)}</span> <span class="dim">#${events.n[k]}</span> <b>${esc(kinds[events.k[k]])}</b> ${esc(cut(events.x[k], 40))} <span class="dim">${clock(events.t[k], 2)}${events.p[k] == null ? "" : ` · playhead ${clock(events.p[k], 1)}`}</span></p>`;
    });
    const differs = unlike.slice(0, 4).map(([where, a, b]) => `<p class="odd"><code>${esc(where)}</code> ${a == null && b == null ? "" : `${esc(cut(a ?? "nothing", 40))} → ${esc(cut(b ?? "nothing", 40))}`}</p>`);
    const alone = kind.startsWith("only") ? `<p class="${counts ? "odd" : "dim"}">only in ${esc(sides[kind === "only-a" ? 0 : 1].label)}</p>` : "";
    return `<div>${lines.join("")}${alone}${differs.join("")}</div>`;
  }

  const handlers = {
    pointermove(event) {
      if (drag) {
        const perPx = (plot.view.b - plot.view.a) / (plot.right - plot.left), by = (drag.from - event.offsetX) * perPx;
        drag.moved ||= Math.abs(drag.from - event.offsetX) > 3;
        if (drag.moved) show(drag.a + by, drag.b + by);
      }
      tell(event);
    },
    pointerdown(event) {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      drag = { from: event.offsetX, a: plot.view.a, b: plot.view.b, moved: false };
    },
    pointerup(event) {
      const wasMoved = drag?.moved;
      drag = null;
      const [first] = wasMoved ? [] : near(event.offsetX, event.offsetY);
      if (first) onPick(first.row);
    },
    pointerleave() {
      hover = null;
      card.hidden = true;
      drawOver();
    },
    pointercancel: () => (drag = null),
    dblclick: (event) => zoomAt(0.4, plot.timeAt(event.offsetX)),
    wheel(event) {
      const isZoom = event.ctrlKey || (document.activeElement === canvas && !event.shiftKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY));
      if (!isZoom && !event.shiftKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return; // the page scrolls
      event.preventDefault();
      if (isZoom) zoomAt(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.008), plot.timeAt(event.offsetX));
      else moveBy((event.deltaX || event.deltaY) / (plot.right - plot.left));
    },
    keydown(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const acts = {
        ArrowRight: () => (event.shiftKey ? moveBy(0.2) : stepTo(1)),
        ArrowLeft: () => (event.shiftKey ? moveBy(-0.2) : stepTo(-1)),
        "+": () => zoomAt(0.6, centre()),
        "-": () => zoomAt(1 / 0.6, centre()),
        0: () => fit(),
      };
      if (!acts[event.key]) return;
      event.preventDefault();
      acts[event.key]();
    },
  };
  for (const [name_, handler] of Object.entries(handlers)) canvas.addEventListener(name_, handler, { passive: name_ !== "wheel" && name_ !== "keydown" });

  const centre = () => (pairs[plot.picked] ? timeOf(pairs[plot.picked]) : (plot.view.a + plot.view.b) / 2);

  function stepTo(by) {
    const row = plot.picked + by;
    if (plot.picked < 0) onPick(by > 0 ? 0 : pairs.length - 1);
    else if (row >= 0 && row < pairs.length) onPick(row);
    bring();
  }

  /** Move the view so that the chosen pair is in it. */
  function bring() {
    const pair = pairs[plot.picked];
    if (!pair) return;
    const t = timeOf(pair), { a, b } = plot.view;
    if (t < a || t > b) show(t - (b - a) / 2, t + (b - a) / 2);
  }

  function fit() {
    const { a, b } = whole();
    show(a, b);
  }

  const resizing = new ResizeObserver(size);
  resizing.observe(box);
  Object.assign(plot.view, whole());
  size();

  return {
    pick(row, isShown) {
      plot.picked = row;
      if (isShown) bring();
      redraw();
    },
    align(shift) {
      plot.shift = shift;
      fit();
    },
    zoom: (factor) => zoomAt(factor, centre()),
    fit,
    repaint() {
      plot.colours = colours();
      redraw();
    },
    destroy() {
      resizing.disconnect();
      cancelAnimationFrame(due);
    },
  };
}

function sideOfLanes({ label, page }) {
  const { events } = page;
  const inOrder = events.n.map((_, k) => k).sort((one, other) => events.t[one] - events.t[other] || one - other);
  const curve = inOrder.filter((k) => events.p[k] != null && events.r[k] >= 0 && !page.late.includes(events.n[k]) && !(page.live && page.kinds[events.k[k]] === "sessionStart"));
  return {
    label: visible(label), page, events, kinds: page.kinds, spans: page.spans, end: page.end_s, inOrder, curve,
    at: new Map(events.n.map((n, k) => [n, k])),
  };
}
