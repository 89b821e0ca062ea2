// A mark for each type of event: what is filled begins, what is hollow ends.

function polygon(g, ...points) {
  points.forEach(([x, y], k) => (k ? g.lineTo(x, y) : g.moveTo(x, y)));
  g.closePath();
}

function open(g, width, ...points) {
  points.forEach(([x, y], k) => (k ? g.lineTo(x, y) : g.moveTo(x, y)));
  g.lineWidth = width;
  g.stroke();
}

function square(g, s) {
  g.rect(-s, -s, 2 * s, 2 * s);
}

function outline(g, width) {
  g.lineWidth = width;
  g.stroke();
}

// Colour, and how to draw it around the origin with half the size s.
const MARKS = {
  sessionStart: ["ink", (g, s) => { polygon(g, [-s, -s], [s, 0], [-s, s]); g.fill(); g.fillRect(-s - 2, -s, 1.6, 2 * s); }],
  play: ["content", (g, s) => { polygon(g, [-s * 0.7, -s], [s, 0], [-s * 0.7, s]); g.fill(); }],
  ping: ["content", (g, s) => { g.rect(-0.7, -s * 1.4, 1.4, s * 2.8); g.fill(); }],
  pauseStart: ["dim", (g, s) => { g.rect(-s * 0.8, -s, s * 0.6, 2 * s); g.rect(s * 0.2, -s, s * 0.6, 2 * s); g.fill(); }],
  bufferStart: ["buffering", (g, s) => { g.arc(0, 0, s * 0.85, -1.2, 3.6); outline(g, 2); }],
  adBreakStart: ["ad", (g, s) => open(g, 2, [s * 0.7, -s], [-s * 0.5, -s], [-s * 0.5, s], [s * 0.7, s])],
  adBreakComplete: ["ad", (g, s) => open(g, 2, [-s * 0.7, -s], [s * 0.5, -s], [s * 0.5, s], [-s * 0.7, s])],
  adStart: ["ad", (g, s) => { polygon(g, [0, -s], [s, 0], [0, s], [-s, 0]); g.fill(); }],
  adComplete: ["ad", (g, s) => { polygon(g, [0, -s], [s, 0], [0, s], [-s, 0]); outline(g, 1.6); }],
  adSkip: ["ad", (g, s) => { for (const x of [-s, 0]) open(g, 1.8, [x, -s], [x + s, 0], [x, s]); }],
  chapterStart: ["chapterink", (g, s) => { square(g, s * 0.85); g.fill(); }],
  chapterComplete: ["chapterink", (g, s) => { square(g, s * 0.8); outline(g, 1.6); }],
  chapterSkip: ["chapterink", (g, s) => { square(g, s * 0.8); outline(g, 1.6); }],
  stateStart: ["stateink", (g, s) => { g.arc(0, 0, s * 0.85, 0, 7); g.fill(); }],
  stateEnd: ["stateink", (g, s) => { g.arc(0, 0, s * 0.75, 0, 7); outline(g, 1.6); }],
  statesUpdate: ["stateink", (g, s) => { g.arc(0, 0, s * 0.85, 0, 7); g.fill(); }],
  bitrateChange: ["dim", (g, s) => {
    for (const up of [-1, 1]) polygon(g, [-s * 0.7, up], [0, up * s], [s * 0.7, up]);
    g.fill();
  }],
  error: ["error", (g, s) => { open(g, 2.6, [-s, -s], [s, s]); open(g, 2.6, [s, -s], [-s, s]); }],
  sessionComplete: ["ink", (g, s) => { square(g, s); outline(g, 1.8); }],
  sessionEnd: ["ink", (g, s) => { square(g, s); g.fill(); }],
};
const UNKNOWN = ["error", (g, s) => {
  g.font = `700 ${s * 2.6}px sans-serif`;
  g.textAlign = "center";
  g.textBaseline = "middle";
  g.fillText("?", 0, 1);
}];

/** The types that have a mark of their own. */
export const MARKED = Object.keys(MARKS);

/** Draw the mark of a type of event. Types come from devices: only our own have a mark. */
export function drawMark(g, colours, type, x, y, size = 4.6) {
  const [colour, draw] = Object.hasOwn(MARKS, type) ? MARKS[type] : UNKNOWN;
  g.save();
  g.translate(x, y);
  g.fillStyle = g.strokeStyle = colours[colour];
  g.lineCap = "round";
  g.beginPath();
  draw(g, size);
  g.restore();
}

/** Draw the ring around what was refused or not answered. */
export function drawRing(g, colours, x, y, radius = 7.8) {
  g.strokeStyle = colours.error;
  g.lineWidth = 1.4;
  g.beginPath();
  g.arc(x, y, radius, 0, 7);
  g.stroke();
}
