// Shapes that show severity without relying on colour: the same in lists, in lanes and beside the verdict.
import { esc } from "./words.js";

/** For each icon its outline, which is filled, and the sign on it, on a square of 16. */
export const SHAPES = {
  error: ["M5.2 1h5.6L15 5.2v5.6L10.8 15H5.2L1 10.8V5.2z", "M5.3 5.3l5.4 5.4m0-5.4l-5.4 5.4"],
  warning: ["M8 1.2L15.4 14.6H.6z", "M8 6v4.2M8 12v1"],
  info: ["M8 1a7 7 0 110 14A7 7 0 018 1z", "M8 7v4.4M8 4.4v1.2"],
  changed: ["M8 .6L15.4 8 8 15.4.6 8z", "M5 6.7h6M5 9.3h6M9.4 4.9l-2.8 6.2"],
  undecided: ["M3 1h10a2 2 0 012 2v10a2 2 0 01-2 2H3a2 2 0 01-2-2V3a2 2 0 012-2z", "M5.9 6.3a2.1 2.1 0 114.2 0c0 1.5-2.1 1.5-2.1 3.1M8 11.8v.3"],
  pass: ["M8 1a7 7 0 110 14A7 7 0 018 1z", "M4.6 8.2l2.4 2.4 4.4-4.8"],
};

/** The worst first. */
export const SEVERITIES = ["error", "warning", "info"];

/** What a verdict looks like: its word and its icon. */
export const VERDICTS = {
  fail: ["Fail", "error"], changed: ["Changed", "changed"], warn: ["Warn", "warning"], undecided: ["Undecided", "undecided"], pass: ["Pass", "pass"],
};

/** An icon as markup. */
export function icon(name, title = name) {
  const [outline, sign] = SHAPES[name];
  return `<svg viewBox="0 0 16 16" role="img" aria-label="${esc(title)}" class="icon i-${name}">` +
    `<path d="${outline}" fill="currentColor"/><path class="sign" d="${sign}" fill="none"/></svg>`;
}
