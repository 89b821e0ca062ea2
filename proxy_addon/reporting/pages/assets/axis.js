// The time axis that all lanes share: which part of the session is visible, and where on the canvas a moment is.
import { clock } from "./words.js";

const STEPS_S = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200];
const SHORTEST_S = 0.05;

/** The smallest round step that leaves at least `room` pixels, for `perSecond` pixels a second. */
export function stepFor(perSecond, room) {
  return STEPS_S.find((step) => step * perSecond >= room) ?? 86400 * Math.ceil(room / (86400 * perSecond));
}

/** Round times between two, each with its label. */
export function* ticks(a, b, step) {
  for (let k = Math.ceil(a / step); k * step <= b; k++) yield [k * step, tickLabel(k * step, step)];
}

/** A round time with as many decimals as its step needs. */
export function tickLabel(time, step) {
  return clock(time, step < 0.1 ? 2 : step < 1 ? 1 : 0);
}

export class Axis {
  constructor() {
    this.full = { a: 0, b: 1 };
    this.view = { a: 0, b: 1 };
    this.left = 0;
    this.right = 1;
  }

  /** Set the ends of a session. The view stays, unless it showed the whole session or followed its end. */
  extend(begin, end) {
    const was = { ...this.full }, seen = { ...this.view }, length = end - begin;
    this.full = { a: begin - length * 0.006, b: end + length * 0.012 };
    const wasAll = seen.a <= was.a && seen.b >= was.b, wasAtEnd = seen.b >= was.b - (was.b - was.a) * 0.005;
    if (wasAll) this.view = { ...this.full };
    else if (wasAtEnd) this.show(seen.a + this.full.b - seen.b, this.full.b);
    else this.show(seen.a, seen.b);
  }

  x(time) {
    return this.left + ((time - this.view.a) / (this.view.b - this.view.a)) * (this.right - this.left);
  }

  time(x) {
    return this.view.a + ((x - this.left) / (this.right - this.left)) * (this.view.b - this.view.a);
  }

  /** Where a moment is if the whole session is visible. */
  xOfAll(time) {
    return this.left + ((time - this.full.a) / (this.full.b - this.full.a)) * (this.right - this.left);
  }

  timeOfAll(x) {
    return this.full.a + ((x - this.left) / (this.right - this.left)) * (this.full.b - this.full.a);
  }

  get isWhole() {
    return this.view.b - this.view.a >= (this.full.b - this.full.a) * 0.98;
  }

  get perSecond() {
    return (this.right - this.left) / (this.view.b - this.view.a);
  }

  /** Show the part between two times, or the nearest possible one. */
  show(a, b) {
    const all = this.full.b - this.full.a, width = Math.min(Math.max(b - a, SHORTEST_S), all);
    const begin = Math.max(this.full.a, Math.min(a, this.full.b - width));
    this.view = { a: begin, b: begin + width };
  }

  /** Show `factor` times as much, keeping a moment where it is. */
  zoom(factor, around = (this.view.a + this.view.b) / 2) {
    const { a, b } = this.view;
    this.show(around - (around - a) * factor, around + (b - around) * factor);
  }

  /** Move by a part of the view. */
  move(part) {
    const { a, b } = this.view, by = (b - a) * part;
    this.show(a + by, b + by);
  }
}
