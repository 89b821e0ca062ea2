// The timeline: one canvas for all lanes, one for what follows the pointer, one for the strip above.
import { Axis } from "./axis.js";
import { cardOf, placeCard } from "./card.js";
import { colours } from "./colours.js";
import { lower } from "./facts.js";
import { onColours } from "./family.js";
import { TOP, drawLanes, fitAxis, placeLanes } from "./frame.js";
import { LANES } from "./lanes/all.js";
import { OVERVIEW_HEIGHT, drawOverview, steerOverview } from "./overview.js";
import { chip, stroke } from "./painting.js";
import { drawOnPaper } from "./paper.js";
import { steerLanes } from "./steering.js";
import { clock, plural } from "./words.js";

const NEAR_PX = 6, NEAR_FLAG_PX = 9, MOST_NEAR = 40;

const MARKUP =
  '<canvas class="over" aria-hidden="true"></canvas>' +
  '<div class="plotbox" tabindex="0" role="application" aria-roledescription="timeline">' +
  '<canvas class="plot"></canvas><canvas class="cursor" aria-hidden="true"></canvas></div>' +
  '<div class="card" role="tooltip" hidden></div>';

/**
 * Draw the timeline of a session in an empty element.
 *
 * `choose(i)` is called for an event that the user chose, `enter()` when the user wants to read it.
 */
export class Timeline {
  #axis = new Axis();
  #boxes = [];
  #chosen = -1;
  #colours;
  #due = 0;
  #facts = null;
  #height = 0;
  #hover = null;
  #layers = {};
  #now = null;
  #undo = [];
  #width = 0;

  constructor(root, { choose, enter }) {
    root.innerHTML = MARKUP;
    const [over, box, card] = root.children, [plot, cursor] = box.children;
    this.element = box;
    this.choose = choose;
    this.enter = enter;
    this.card = card;
    this.canvases = { plot, cursor, over };
    this.#colours = colours();
    this.#steer(box);
    steerOverview(over, this.#axis, () => this.redraw());
    const resized = new ResizeObserver(() => {
      if (this.#facts && Math.abs(box.clientWidth - this.#width) > 1) this.#resize();
    });
    resized.observe(box);
    const pixels = matchMedia("(resolution: 1dppx)"), sharpen = () => this.#facts && this.#resize();
    pixels.addEventListener("change", sharpen);
    this.#undo = [() => resized.disconnect(), () => pixels.removeEventListener("change", sharpen), onColours(() => this.repaint())];
  }

  /** Show a session, or the same session with more in it; the chosen event may have another position. */
  update(facts, chosen) {
    this.#facts = facts;
    this.#chosen = chosen;
    const { order: { times }, value } = facts;
    this.#now = value.now_s;
    this.#axis.extend(Math.min(0, times[0] ?? 0), Math.max(value.end_s, this.#now ?? 0, 1));
    const length = `${plural(facts.size, "event")} over ${clock(value.end_s)}`;
    this.element.setAttribute("aria-label", `Timeline of ${length}; the table below has the same data. ${value.verdict.headline}`);
    this.#resize();
  }

  /** Move the line that stands at the present. */
  moveNow(now) {
    this.#now = now;
    this.#axis.extend(Math.min(0, this.#facts.order.times[0] ?? 0), Math.max(this.#facts.value.end_s, now, 1));
    this.redraw();
  }

  /** Mark an event, -1 for none, and bring it into view. */
  mark(i) {
    this.#chosen = i;
    const { a, b } = this.#axis.view, time = this.#facts.E.t[i];
    if (i >= 0 && (time < a || time > b)) this.#axis.show(time - (b - a) / 2, time + (b - a) / 2);
    this.redraw();
  }

  zoom(factor) {
    this.#axis.zoom(factor, this.#middle());
    this.redraw();
  }

  fit() {
    this.#axis.show(this.#axis.full.a, this.#axis.full.b);
    this.redraw();
  }

  /** Draw with the current colours. */
  repaint() {
    this.#colours = colours();
    if (this.#facts) this.#resize();
  }

  /** Draw all of the session for paper. Returns what takes it away. */
  drawOnPaper() {
    const [boxes, height] = placeLanes(LANES, this.#facts);
    return drawOnPaper(this.element, this.#axis.full, height, (g, axis, width) => {
      fitAxis(axis, width);
      drawLanes(g, { ...this.#scene, axis, colours: colours(), height, width, isPaper: true }, boxes, this.#now);
    });
  }

  redraw() {
    this.#due ||= requestAnimationFrame(() => this.#draw());
  }

  destroy() {
    cancelAnimationFrame(this.#due);
    for (const undo of this.#undo) undo();
  }

  get #scene() {
    return { facts: this.#facts, axis: this.#axis, colours: this.#colours, width: this.#width, height: this.#height };
  }

  // Zooming by keys and buttons keeps the chosen event where it is.
  #middle() {
    const time = this.#facts.E.t[this.#chosen], { a, b } = this.#axis.view;
    return time >= a && time <= b ? time : (a + b) / 2;
  }

  #resize() {
    const width = this.#width = this.element.clientWidth, scale = devicePixelRatio || 1;
    fitAxis(this.#axis, width);
    [this.#boxes, this.#height] = placeLanes(LANES, this.#facts);
    const heights = { plot: this.#height, cursor: this.#height, over: OVERVIEW_HEIGHT };
    for (const [name, canvas] of Object.entries(this.canvases)) {
      const [w, h] = [Math.round(width * scale), Math.round(heights[name] * scale)];
      if (canvas.width !== w || canvas.height !== h) {
        canvas.width = w;
        canvas.height = h;
        canvas.style.width = `${width}px`;
        canvas.style.height = `${heights[name]}px`;
      }
      this.#layers[name] ??= canvas.getContext("2d");
      this.#layers[name].setTransform(scale, 0, 0, scale, 0, 0);
    }
    this.#draw();
  }

  #draw() {
    cancelAnimationFrame(this.#due);
    this.#due = 0;
    drawLanes(this.#layers.plot, this.#scene, this.#boxes, this.#now);
    drawOverview(this.#layers.over, this.#scene);
    this.#drawCursor();
  }

  #drawCursor() {
    const g = this.#layers.cursor, scene = this.#scene, { axis, colours: { ink, faint }, facts, height, width } = scene;
    g.clearRect(0, 0, width, height);
    if (this.#chosen >= 0) {
      const x = axis.x(facts.E.t[this.#chosen]);
      if (x >= axis.left - 1 && x <= axis.right + 1) {
        stroke(g, ink, 1, x, TOP, x, height);
        chip(g, scene, x, `#${facts.E.n[this.#chosen]}`, "ink");
      }
    }
    if (this.#hover === null) return;
    stroke(g, faint, 1, this.#hover, TOP, this.#hover, height, [3, 3]);
    chip(g, scene, this.#hover, clock(axis.time(this.#hover), axis.view.b - axis.view.a < 60 ? 2 : 0), "dim");
  }

  #boxAt(y) {
    return this.#boxes.find((box) => y >= box.y - 3 && y < box.y + box.h + 4);
  }

  // Events under the pointer, by time.
  #near(x, y) {
    const box = this.#boxAt(y), { E } = this.#facts;
    if (!box?.lane.pick) return [];
    const byTime = (a, b) => E.t[a] - E.t[b] || a - b;
    const marks = (box.places ?? []).filter(([, markX, markY]) => Math.abs(markX - x) < 8 && Math.abs(markY - y) < 7);
    if (marks.length) return marks.map(([i]) => i).sort(byTime);
    const times = box.lane.byArrival ? E.a : E.t, reach = box.lane.id === "findings" ? NEAR_FLAG_PX : NEAR_PX;
    const distance = (i) => Math.abs(this.#axis.x(times[i]) - x);
    return box.lane.pick(this.#facts).filter((i) => distance(i) <= reach)
      .sort((a, b) => distance(a) - distance(b)).slice(0, MOST_NEAR).sort(byTime);
  }

  // A band may be seen beyond its end: what is not counted has a label.
  #bandAt(x, y) {
    const box = this.#boxes.find((each) => y >= each.y && y < each.y + each.h), lane = box?.lane;
    return lane?.bands?.(this.#facts).find((band) => {
      const from = this.#axis.x(band.a), to = Math.max(this.#axis.x(band.b), from + (lane.leastWidth?.(band) ?? 0));
      return x >= from && x <= to && (lane.isBandAt?.(this.#facts, band, y - box.y) ?? true);
    });
  }

  #steer(box) {
    const at = (event) => {
      const { left, top } = box.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    };
    steerLanes(box, this.#axis, {
      moved: () => this.redraw(),
      hovered: (event) => (event ? this.#hovered(event, ...at(event)) : this.#left()),
      clicked: (event) => {
        const [first] = this.#nearest(...at(event));
        if (first !== undefined) this.choose(first);
      },
    });
    box.addEventListener("keydown", (event) => this.#press(event));
  }

  #hovered(event, x, y) {
    const axis = this.#axis, time = axis.time(x), isInside = x >= axis.left && x <= axis.right;
    this.#hover = isInside ? x : null;
    this.#drawCursor();
    placeCard(this.card, isInside ? cardOf(this.#facts, this.#near(x, y), this.#bandAt(x, y), time) : "", event);
  }

  #left() {
    if (this.#hover === null) return;
    this.#hover = null;
    this.card.hidden = true;
    this.#drawCursor();
  }

  // A click takes what is nearest; of equal times the first.
  #nearest(x, y) {
    const times = this.#boxAt(y)?.lane.byArrival ? this.#facts.E.a : this.#facts.E.t;
    return this.#near(x, y).sort((a, b) => Math.abs(this.#axis.x(times[a]) - x) - Math.abs(this.#axis.x(times[b]) - x));
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const axis = this.#axis, towards = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (towards && event.shiftKey) axis.move(0.2 * towards);
    else if (towards) this.#step(towards);
    else if (event.key === "+" || event.key === "=") axis.zoom(0.6, this.#middle());
    else if (event.key === "-") axis.zoom(1 / 0.6, this.#middle());
    else if (event.key === "0") axis.show(axis.full.a, axis.full.b);
    else if (event.key === "Enter" && this.#chosen >= 0) this.enter();
    else return;
    event.preventDefault();
    this.redraw();
  }

  // By the device's clock; from the middle of what is seen if nothing is chosen.
  #step(by) {
    const { order: { events, times }, position, size } = this.#facts;
    if (!size) return;
    const { a, b } = this.#axis.view;
    const from = this.#chosen >= 0 ? position[this.#chosen] + by : by > 0 ? lower(times, a) : lower(times, b) - 1;
    this.choose(events[Math.min(size - 1, Math.max(0, from))]);
  }
}
