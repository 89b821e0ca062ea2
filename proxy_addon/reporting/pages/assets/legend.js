// What is drawn: the states with how long they lasted in all, and what the marks mean.
import { drawMark, drawRing, MARKED } from "./marks.js";
import { stroke } from "./painting.js";
import { count, lasted, ms, plural } from "./words.js";

const TOTALS = { content: "content", ad: "ads", paused: "paused", buffering: "buffering", stalled: "stalled", starting: "starting" };

/** Colours and totals in one line; of a batch, what became of its request. */
export function legendMarkup({ value, E, size }) {
  const status = E.s[0] ? `answered ${E.s[0]} in ${ms(E.d[0])}` : "not answered";
  const batch = value.batch ? `<span>one request of ${plural(size, "event")}, ${status}</span>` : "";
  const shown = Object.entries(TOTALS).filter(([state]) => value.totals[state] > 0.05);
  return batch + shown.map(([state, word]) =>
    `<span><i class="sw c-${state}"></i>${word} <b>${lasted(value.totals[state])}</b></span>`).join("");
}

/** Fill a list with the marks that occur, each drawn as in the lanes. */
export function fillMarks(list, facts, colours) {
  const { kinds } = facts.value, bar = (g, colour, width) => { g.fillStyle = colour; g.fillRect(8 - width / 2, 1, width, 14); };
  list.replaceChildren();
  for (const type of MARKED) if (kinds.includes(type)) add(list, type, (g) => drawMark(g, colours, type, 8, 8, type === "ping" ? 4 : 4.6));
  if (facts.E.n.some((_, i) => facts.isRefused(i))) add(list, "refused or not answered", (g) => drawRing(g, colours, 8, 8, 6.5));
  if (facts.due.length) {
    add(list, `ping that was due but did not come (${count(facts.due.length)})`, (g) => {
      g.strokeStyle = colours.warning;
      g.lineWidth = 1.2;
      g.beginPath();
      g.roundRect(5.8, 1.5, 4.4, 13, 2);
      g.stroke();
    });
  }
  if (facts.endsSilence.size) add(list, "ping that ends a silence", (g) => bar(g, colours.buffering, 2.4));
  if (facts.overtaken.size) add(list, "overtaken on the way", (g) => stroke(g, colours.warning, 1.8, 2, 2, 13, 14));
}

function add(list, words, draw) {
  const scale = devicePixelRatio || 1, canvas = document.createElement("canvas"), item = document.createElement("span");
  canvas.width = canvas.height = 16 * scale;
  canvas.className = "mark";
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  draw(g);
  item.append(canvas, words);
  list.append(item);
}
