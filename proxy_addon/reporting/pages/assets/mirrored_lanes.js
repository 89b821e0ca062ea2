// Two sessions on one time axis: the lanes of the first grow up from the middle, those of the second down, and hairlines
// join the events that belong together.
import { Axis } from "./axis.js";
import { placeCard } from "./card.js";
import { colours } from "./colours.js";
import { onColours } from "./family.js";
import { drawMirrored, drawPointer, lanesOf } from "./mirrored_drawing.js";
import { drawOnPaper } from "./paper.js";
import { steerLanes } from "./steering.js";
import { clock, cut, esc, ms } from "./words.js";

const NARROW = 560, NEAR_PX = 8, MOST = 5, MOST_UNLIKE = 4, SHORT = 40;

/** What is drawn of two sessions, and what moves it. `choose(row)` is called for a pair that the user chose. */
export class MirroredLanes {
  #choose;
  #due = 0;
  #hover = null;
  #scene;
  #undo;

  constructor(root, value, { choose }) {
    root.classList.add("mirror");
    root.innerHTML =
      '<div class="plotbox" tabindex="0" role="application" aria-roledescription="timeline"><canvas></canvas>' +
      '<canvas class="over" aria-hidden="true"></canvas></div><div class="card" role="tooltip" hidden></div>';
    const [box, card] = root.children, [canvas, over] = box.children;
    box.setAttribute("aria-label", `Timeline of both sessions; the table below has the same data. ${value.verdict.headline}`);
    this.#choose = choose;
    this.box = box;
    this.card = card;
    this.canvases = [canvas, over];
    this.value = value;
    const sides = value.sides.map(sideOf), drift = new Map(value.drift.map(([number, ms]) => [sides[1].at.get(number), ms]));
    const pairs = value.rows.map(([a, b, kind, counts], row) => ({ row, ends: [sides[0].at.get(a), sides[1].at.get(b)], kind, counts }));
    this.#scene = { axis: new Axis(), axes: [], colours: colours(), drift, height: 0, lanes: [], pairs, picked: -1, shift: 0, sides, width: 0 };
    this.#reach();
    steerLanes(box, this.#scene.axis, { moved: () => this.redraw(), hovered: (event) => this.#tell(event), clicked: (event) => this.#click(event) });
    box.addEventListener("keydown", (event) => this.#press(event));
    const resized = new ResizeObserver(() => this.#resize());
    resized.observe(box);
    this.#undo = [() => resized.disconnect(), onColours(() => this.repaint())];
    this.#resize();
  }

  /** Draw the second session `shift` seconds later. */
  align(shift) {
    this.#scene.shift = shift;
    this.#reach();
    this.fit();
  }

  /** Mark a pair, -1 for none; with `isShown` bring it into view. */
  pick(row, isShown) {
    const { axis, pairs } = this.#scene;
    this.#scene.picked = row;
    if (isShown && pairs[row]) {
      const time = this.#timeOf(pairs[row]), { a, b } = axis.view;
      if (time < a || time > b) axis.show(time - (b - a) / 2, time + (b - a) / 2);
    }
    this.redraw();
  }

  zoom(factor) {
    const { axis, pairs, picked } = this.#scene;
    axis.zoom(factor, pairs[picked] && this.#timeOf(pairs[picked]));
    this.redraw();
  }

  fit() {
    const { axis } = this.#scene;
    axis.show(axis.full.a, axis.full.b);
    this.redraw();
  }

  /** Draw all of both sessions for paper. Returns what takes it away. */
  drawOnPaper() {
    const scene = this.#scene, [lanes, height] = lanesOf(scene);
    return drawOnPaper(this.box, scene.axis.full, height, (g, axis, width) => {
      fitAxes(axis, width);
      drawMirrored(g, { ...scene, axis, axes: axesOf(scene, axis), colours: colours(), height, lanes, picked: -1, width });
    });
  }

  /** Draw with the current colours. */
  repaint() {
    this.#scene.colours = colours();
    this.#resize();
  }

  redraw() {
    this.#due ||= requestAnimationFrame(() => this.#draw());
  }

  destroy() {
    cancelAnimationFrame(this.#due);
    for (const undo of this.#undo) undo();
  }

  #reach() {
    const { axis, shift, sides: [one, other] } = this.#scene;
    axis.extend(Math.min(0, shift), Math.max(one.page.end_s, other.page.end_s + shift, 1));
  }

  #resize() {
    const scene = this.#scene, width = this.box.clientWidth, scale = devicePixelRatio || 1;
    scene.width = width;
    fitAxes(scene.axis, width);
    [scene.lanes, scene.height] = lanesOf(scene);
    for (const canvas of this.canvases) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(scene.height * scale);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${scene.height}px`;
      canvas.getContext("2d").setTransform(scale, 0, 0, scale, 0, 0);
    }
    this.#draw();
  }

  #draw() {
    cancelAnimationFrame(this.#due);
    this.#due = 0;
    this.#scene.axes = axesOf(this.#scene, this.#scene.axis);
    drawMirrored(this.canvases[0].getContext("2d"), this.#scene);
    this.#drawOver();
  }

  #drawOver() {
    const { pairs, picked } = this.#scene, pair = pairs[picked];
    drawPointer(this.canvases[1].getContext("2d"), this.#scene, this.#hover, pair && [this.#timeOf(pair), this.#numbers(pair)]);
  }

  #timeOf({ ends: [a, b] }) {
    const { shift, sides } = this.#scene;
    return a === undefined ? sides[1].page.events.t[b] + shift : sides[0].page.events.t[a];
  }

  #numbers({ ends }) {
    return ends.map((k, side) => (k === undefined ? "–" : `#${this.#scene.sides[side].page.events.n[k]}`)).join(" · ");
  }

  /** The pairs near a place, the nearest first: those of the session whose lane it is, or of both. */
  #near(x, y) {
    const { axes, lanes, pairs, sides } = this.#scene, lane = lanes.find((each) => y >= each.y - 3 && y < each.y + each.h + 4);
    if (!lane) return [];
    const far = ({ ends }) => Math.min(...ends.map((k, side) =>
      k === undefined || (lane.side ?? side) !== side ? Infinity : Math.abs(axes[side].x(sides[side].page.events.t[k]) - x)));
    return pairs.map((pair) => [far(pair), pair]).filter(([away]) => away <= NEAR_PX)
      .sort(([one, a], [other, b]) => one - other || b.counts - a.counts).map(([, pair]) => pair);
  }

  #at(event) {
    const { left, top } = this.box.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  #tell(event) {
    const [x, y] = event ? this.#at(event) : [-1, -1], { axis } = this.#scene;
    this.#hover = x >= axis.left && x <= axis.right ? x : null;
    const found = this.#hover === null ? [] : this.#near(x, y);
    this.box.classList.toggle("over-event", found.length > 0);
    const more = found.length > MOST ? `<div class="dim">and ${found.length - MOST} more here – zoom in</div>` : "";
    placeCard(this.card, found.slice(0, MOST).map((pair) => this.#cardOf(pair)).join("") + more, event);
    this.#drawOver();
  }

  #cardOf({ row, ends, kind, counts }) {
    const { drift, sides } = this.#scene, unlike = this.value.rows[row][4];
    const lines = ends.map((k, side) => {
      if (k === undefined) return "";
      const { label, page: { events, kinds } } = sides[side], playhead = events.p[k];
      const at = playhead == null ? "" : ` · playhead ${clock(playhead, 1)}`;
      const late = side && drift.has(k) ? ` · sent ${ms(drift.get(k))} late` : "";
      return `<div><span class="label">${esc(label)}</span> <span class="dim">#${events.n[k]}</span> <b>${esc(cut(kinds[events.k[k]], SHORT))}</b> ` +
        `<bdi>${esc(cut(events.x[k], SHORT))}</bdi> <span class="dim">${clock(events.t[k], 2)}${at}${late}</span></div>`;
    });
    const { label } = sides[kind === "only-a" ? 0 : 1];
    const alone = kind.startsWith("only") ? `<div class="${counts ? "odd" : "dim"}">only in ${esc(label)}</div>` : "";
    const places = unlike.slice(0, MOST_UNLIKE).map(([where, a, b, message]) => {
      if (a == null && b == null) return `<div class="odd">${esc(cut(message, 200))}</div>`;
      const [one, other] = [a, b].map((each) => esc(cut(each ?? "nothing", SHORT)));
      return `<div class="odd"><code>${esc(cut(where, 60))}</code> ${one} → ${other}</div>`;
    });
    return `<div class="pair">${lines.join("")}${alone}${places.join("")}</div>`;
  }

  #click(event) {
    const [pair] = this.#near(...this.#at(event));
    if (pair) this.#choose(pair.row);
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { axis, pairs, picked } = this.#scene;
    const step = (by) => {
      const row = picked < 0 && by < 0 ? pairs.length - 1 : picked + by;
      if (!pairs[row]) return;
      this.#choose(row);
      this.pick(row, true);
    };
    const move = (part) => {
      axis.move(part);
      this.redraw();
    };
    const acts = {
      ArrowRight: () => (event.shiftKey ? move(0.2) : step(1)),
      ArrowLeft: () => (event.shiftKey ? move(-0.2) : step(-1)),
      "+": () => this.zoom(0.6),
      "=": () => this.zoom(0.6),
      "-": () => this.zoom(1 / 0.6),
      0: () => this.fit(),
    };
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  }
}

// Leave room for names before the axis and for scales behind it.
function fitAxes(axis, width) {
  const isNarrow = width < NARROW;
  axis.left = isNarrow ? 74 : 138;
  axis.right = Math.max(axis.left + 10, width - (isNarrow ? 38 : 58));
}

// Each session is drawn in its own time.
function axesOf({ shift }, { left, right, full, view: { a, b } }) {
  return [0, shift].map((by) => Object.assign(new Axis(), { left, right, full, view: { a: a - by, b: b - by } }));
}

function sideOf({ label, page }) {
  const { events, kinds, late, live } = page, lates = new Set(late);
  const curve = events.n.map((_, k) => k)
    .filter((k) => events.p[k] != null && events.r[k] >= 0 && !lates.has(events.n[k]) && !(live && kinds[events.k[k]] === "sessionStart"))
    .sort((one, other) => events.t[one] - events.t[other] || one - other);
  return { label, page, curve, at: new Map(events.n.map((n, k) => [n, k])) };
}
