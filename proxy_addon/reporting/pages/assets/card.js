// What the pointer is over, in a small card beside it.
import { STATES, wrongClock } from "./facts.js";
import { clock, cut, esc, lasted } from "./words.js";

const MOST = 5, MOST_FINDINGS = 3, NAME = 60, MESSAGE = 200;
const FATES = { cut: "cut short", open: "no end reported", ignored: "not counted" };

/** A status as markup: that of the answer, or why there was none. */
export function statusPill(facts, i) {
  const { E } = facts;
  return `<span class="pill ${facts.isRefused(i) ? "bad" : "ok"}">${E.s[i] || esc(E.o[i])}</span>`;
}

/** What is at a moment: some events, else a band such as an ad; empty if there is neither. */
export function cardOf(facts, events, band, time) {
  const rows = events.slice(0, MOST).map((i) => eventRow(facts, i)).join("");
  const more = events.length > MOST ? `<div class="dim">and ${events.length - MOST} more here – zoom in</div>` : "";
  const told = events.length ? rows + more : band ? bandText(facts, band) : "";
  return told && `${told}<div class="dim">${wallClock(facts.value, time)} UTC</div>`;
}

function eventRow(facts, i) {
  const { E, value } = facts, late = E.a[i] - E.t[i], name = facts.name(i), wrong = wrongClock(facts, i);
  const playhead = E.p[i] == null ? "" : ` · playhead ${clock(E.p[i], 1)}`;
  const arrived = late > 1 ? ` · arrived ${late.toFixed(1)} s late` : "";
  const found = E.f[i].slice(0, MOST_FINDINGS).map((index) =>
    `<span class="found s-${value.findings[index].severity}">${esc(cut(facts.message(index, i), MESSAGE))}</span>`);
  return `<div class="r"><span class="dim">#${E.n[i]}</span><span><b>${esc(cut(facts.type(i), NAME))}</b> ` +
    `<bdi>${esc(cut(name, NAME))}</bdi> ${statusPill(facts, i)}</span><span></span>` +
    `<span class="dim">${clock(E.t[i], 3)}${playhead}${arrived}${wrong && ` · ${wrong}`}</span>` +
    `${found.join("")}${whyMarkup(facts.why(i))}</div>`;
}

// Why reports do not count something as it was sent.
function whyMarkup(why) {
  return why && `<div class="why odd">${esc(why)}</div>`;
}

function bandText(facts, band) {
  const name = band.name ?? STATES[band.k] ?? band.k;
  const fate = band.how ? ` – ${esc(FATES[band.how] ?? band.how)}` : "";
  return `<b><bdi>${esc(cut(name, NAME))}</bdi></b>${fate}<div class="dim">${clock(band.a, 1)} – ${clock(band.b, 1)}, ` +
    `${lasted(band.b - band.a)}</div>${band.ignored ? whyMarkup(facts.why(facts.numbers.get(band.n))) : ""}`;
}

function wallClock(value, time) {
  const at = new Date(value.t0_ms + value.skew0_ms + time * 1000);
  return Number.isNaN(at.getTime()) ? "–" : at.toISOString().slice(11, 23);
}

/** Put the card beside the pointer, inside the window; hide it if it is empty. */
export function placeCard(card, html, event) {
  card.hidden = !html;
  if (!html) return;
  card.innerHTML = html;
  const { width, height } = card.getBoundingClientRect(), below = event.clientY + 18;
  card.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
  card.style.top = `${below + height > innerHeight ? Math.max(4, event.clientY - height - 12) : below}px`;
}
