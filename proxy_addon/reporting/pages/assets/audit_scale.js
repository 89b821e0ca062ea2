// Units of what was measured: how a value is told, where round values are, and below which one the axis is no longer
// logarithmic, so that 0 and what is below it have a place.
import { clock, count } from "./words.js";

const MINUTE = 60_000, HOUR = 3_600_000, DAY = 86_400_000;

/** Milliseconds. */
export const LENGTHS = {
  least: 10,
  round: [
    [0, 10, 100, 1_000, 10_000, MINUTE, 10 * MINUTE, HOUR, DAY, 30 * DAY, 365 * DAY],
    [20, 50, 200, 500, 2_000, 5_000, 20_000, 30_000, 2 * MINUTE, 5 * MINUTE, 30 * MINUTE, 3 * HOUR],
  ],
  told: (value) => lengthWords(value).replace("-", "−"),
};

/** Thousandths of a second of content per second. */
export const SPEEDS = {
  least: 100,
  round: [[0, 100, 1_000, 10_000, 100_000, 1_000_000], [200, 500, 800, 900, 1_100, 1_250, 1_500, 2_000, 5_000, 20_000, 50_000]],
  told: (value) => `${(value / 1_000).toLocaleString("en", { maximumSignificantDigits: 3 })}×`,
};

/** Numbers of events. */
export const AMOUNTS = { least: 1, round: [[0, 1, 10, 100, 1_000, 10_000], [2, 5, 20, 50, 200, 500]], told: count };

function lengthWords(ms) {
  const size = Math.abs(ms);
  if (size < 1_000) return `${ms} ms`;
  if (size < MINUTE) return `${+(ms / 1_000).toFixed(size < 10_000 ? 2 : 1)} s`;
  if (size < DAY) return `${ms < 0 ? "-" : ""}${clock(size / 1_000)}`;
  return `${+(ms / DAY).toFixed(1)} d`;
}

/** The axis of a chart: `x(value)`, and `ticks`, round values that leave room for their labels. */
export function scaleOf({ least, round }, lowest, highest, left, right, room) {
  const place = (value) => Math.sign(value) * Math.log10(1 + Math.abs(value) / least);
  let a = place(lowest), b = place(highest);
  const lack = Math.max(0.05 * (b - a), (1 - (b - a)) / 2);
  a -= lack;
  b += lack;
  const x = (value) => left + ((place(value) - a) / (b - a)) * (right - left), ticks = [];
  for (const values of round) {
    for (const value of values.flatMap((each) => (each ? [each, -each] : [0]))) {
      const at = x(value);
      if (at >= left && at <= right && ticks.every((other) => Math.abs(x(other) - at) >= room)) ticks.push(value);
    }
  }
  return { x, ticks };
}
