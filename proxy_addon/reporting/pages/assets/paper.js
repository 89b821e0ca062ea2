// Lanes for printing, drawn on canvases of their own, so that the screen stays as it is.
import { Axis } from "./axis.js";

// The widths of a sheet in portrait and in landscape, which is scaled down so that head and lanes fit on one sheet.
const SHEETS = { upright: 720, sideways: 1240 };
/** Printers have more dots than screens. */
const PAPER_SCALE = 2;

/**
 * Put a canvas for portrait and one for landscape into an element; the style sheet shows the one that fits.
 *
 * `full` is the part of the time axis to show, `draw(g, axis, width)` draws it. Returns a function that removes the canvases.
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
