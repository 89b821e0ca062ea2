// Lanes on paper: drawn anew on canvases of their own, so that what is on the screen stays as it is.
import { Axis } from "./axis.js";

// As wide as a sheet, upright and on its side. The wide one is scaled down, so that head and lanes fit on one sheet.
const SHEETS = { upright: 720, sideways: 1240 };
/** Printers have more dots than screens. */
const PAPER_SCALE = 2;

/**
 * Put a canvas for each way to hold a sheet into an element; the style sheet shows the one that fits.
 *
 * `full` is what of the time axis is shown, `draw(g, axis, width)` draws on it. Returns what takes the canvases away.
 */
export function drawOnPaper(box, full, height, draw) {
  const sheets = Object.entries(SHEETS).map(([name, width]) => {
    const sheet = document.createElement("canvas"), g = sheet.getContext("2d");
    sheet.className = `paper ${name}`;
    sheet.width = width * PAPER_SCALE;
    sheet.height = Math.ceil(height * PAPER_SCALE);
    g.scale(PAPER_SCALE, PAPER_SCALE);
    draw(g, Object.assign(new Axis(), { full: { ...full }, view: { ...full } }), width);
    return sheet;
  });
  box.append(...sheets);
  return () => sheets.forEach((sheet) => sheet.remove());
}
