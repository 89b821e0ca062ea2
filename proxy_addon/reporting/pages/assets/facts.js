// What the lanes, the rail and the table need of a session's value, worked out once for each value.
import { SEVERITIES } from "./icons.js";

/** The page's words for the states of playback. */
export const STATES = {
  content: "playing", ad: "in ad", paused: "paused", buffering: "buffering", stalled: "stalled", starting: "starting",
  over: "content over",
};

/** What is said of an event whose `ts` is wrong; empty for others. Such an event is drawn where it arrived. */
export function wrongClock({ E }, i) {
  const off = E.w[i];
  return off === null ? "" : `its ts is ${spanWords(Math.abs(off))} too ${off < 0 ? "early" : "late"}`;
}

function spanWords(seconds) {
  const [name, length] = LENGTHS.find(([, each]) => seconds >= 2 * each) ?? ["seconds", 1];
  return `${Math.round(seconds / length)} ${name}`;
}

const LENGTHS = [["years", 31_557_600], ["days", 86_400], ["hours", 3_600], ["minutes", 60]];

/** Events that start a live session with a playhead that says nothing. */
const LIVE_PLACEHOLDER = "sessionStart";

/** The first position in an ascending list whose number is not below `wanted`. */
export function lower(numbers, wanted) {
  let from = 0, to = numbers.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (numbers[middle] < wanted) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** Events with the times by which they are drawn, ascending. */
class Timed {
  constructor(events, times) {
    this.events = events;
    this.times = events.map((i) => times[i]);
  }

  /** Those between two times, and one on each side. */
  within(a, b) {
    return this.events.slice(Math.max(0, lower(this.times, a) - 1), lower(this.times, b) + 1);
  }

  /** The last one at or before a time; undefined if there is none. */
  upTo(time) {
    return this.events[lower(this.times, time + 1e-6) - 1];
  }
}

/**
 * Events are positions in the columns `E`, from 0; `order` has them by the device's clock, and `number` is what people
 * call them by.
 */
export function factsOf(value) {
  const E = value.events, size = E.n.length, all = Array.from({ length: size }, (_, i) => i);
  const type = (i) => value.kinds[E.k[i]];
  const order = [...all].sort((a, b) => E.t[a] - E.t[b] || a - b);
  const byArrival = [...all].sort((a, b) => E.a[a] - E.a[b] || a - b);
  const position = new Int32Array(size);
  order.forEach((i, k) => { position[i] = k; });
  const late = new Set(value.late);
  const isRefused = (i) => E.s[i] >= 300 || E.s[i] === 0;
  const isPlayed = (i) => E.r[i] >= 0 && E.p[i] != null && !late.has(E.n[i]) &&
    !(value.live && type(i) === LIVE_PLACEHOLDER);
  const latencies = E.d.filter((d) => d != null).sort((a, b) => a - b);
  const leading = value.findings.map((finding, index) => ({ finding, index })).filter(({ finding }) => finding.below == null);
  const numbers = new Map(E.n.map((n, i) => [n, i])), uncounted = new Map(value.uncounted);

  return {
    value, E, size, type, position, isRefused, late, leading, numbers, latencies,
    order: new Timed(order, E.t),
    byArrival,
    asTaken: [...all].sort((a, b) => (E.r[a] < 0) - (E.r[b] < 0) || E.r[a] - E.r[b] || a - b),
    pings: new Timed(order.filter((i) => type(i) === "ping"), E.t),
    others: new Timed(order.filter((i) => type(i) !== "ping"), E.t),
    played: new Timed(order.filter(isPlayed), E.t),
    arrivals: new Timed(byArrival, E.a),
    flags: flagsOf(leading, numbers, E),
    due: value.silences.flatMap((silence) => silence.due),
    endsSilence: new Set(value.silences.map((silence) => silence.n)),
    overtaken: overtakenOf(byArrival, E),
    taken: E.r.reduce((n, rank) => n + (rank >= 0), 0),
    states: [...new Set(value.spans.states.map((span) => span.name.toLowerCase()))],
    skews: all.map((i) => E.a[i] - E.t[i] + value.skew0_ms / 1000),
    severity: (i) => E.f[i].reduce((worst, index) => Math.min(worst, SEVERITIES.indexOf(value.findings[index].severity)), SEVERITIES.length),
    quantile: (part) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))],
    message: (index, i) => messageAt(value.findings[index], E.n[i]),
    why: (i) => uncounted.get(E.n[i]) ?? "",
    name: (i) => (type(i) === "sessionStart" ? "" : E.x[i]),
    state: (i) => E.st[i].split(" ")[0],
  };
}

// The message of a finding quotes the values of its first place.
function messageAt({ message, places }, number) {
  return places[0] === number ? message : `like #${places[0]}: ${message}`;
}

// The worst finding of each event, the lightest first, so that what is drawn last is seen.
function flagsOf(leading, numbers, E) {
  const worst = new Map();
  for (const { finding } of leading) {
    const severity = SEVERITIES.indexOf(finding.severity);
    for (const number of finding.places) {
      const i = numbers.get(number);
      if (i !== undefined && severity < (worst.get(i) ?? SEVERITIES.length)) worst.set(i, severity);
    }
  }
  return [...worst].map(([i, severity]) => ({ i, severity })).sort((a, b) => b.severity - a.severity || E.t[a.i] - E.t[b.i]);
}

// Events that arrive after one that happened later.
function overtakenOf(byArrival, E) {
  const found = new Set();
  let newest = -Infinity;
  for (const i of byArrival) {
    if (E.t[i] < newest - 0.25) found.add(i);
    newest = Math.max(newest, E.t[i]);
  }
  return found;
}

/** Whether two events are the same one, each given by its facts and its position there. */
export function isSameEvent(one, i, other, j) {
  const E = one.E, F = other.E, at = ({ value, E: { t } }, k) => Math.round(value.t0_ms + t[k] * 1000);
  return at(one, i) === at(other, j) && one.type(i) === other.type(j) && ["e", "d", "p", "s", "o", "x"].every((name) => E[name][i] === F[name][j]);
}

/** The first position from which events have moved, because one whose request took longer was put before them. */
export function movedFrom(before, facts) {
  let at = 0;
  while (at < before.size && at < facts.size && isSameEvent(before, at, facts, at)) at += 1;
  return at;
}

/** The state after an event, in the page's words. */
export function stateWords(text) {
  return text.replace(/^\w+/, (word) => STATES[word] ?? word);
}
