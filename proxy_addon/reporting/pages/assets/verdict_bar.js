// Whether the session is right, in a word, a sentence and six numbers; and what session it is.
import { SEVERITIES, VERDICTS, icon } from "./icons.js";
import { clock, count, cut, esc, lasted, plural, prose } from "./words.js";

const NOUNS = { error: "error", warning: "warning", info: "note" };
const LONGEST = 1000;

/** Fill the verdict bar. */
export function verdictBar(box, value) {
  const { verdict, session } = value;
  const [word, sign] = VERDICTS[verdict.level];
  const found = SEVERITIES.filter((s) => verdict.findings[s]).map((s) => plural(verdict.findings[s], NOUNS[s]));
  const name = session.media_name || session.media_id || "Unnamed media";
  box.className = `verdict v-${verdict.level}`;
  box.innerHTML =
    `<div class="word">${icon(sign, word)}<span>${word}${verdict.expires_at ? "<small>so far</small>" : ""}</span></div>` +
    `<div><h1 dir="auto">${esc(cut(name, 200))}</h1><p class="headline">${prose(verdict.headline)}</p>` +
    `<p class="ended">${found.join(", ") || "no findings"} · ${lengthWords(value)}, <span class="how">${esc(verdict.ended)}</span></p></div>` +
    `<div class="nums">${verdict.counts.map(([what, n, tone]) =>
      `<div class="${n ? esc(tone) : "zero"}"><b>${count(n)}</b><span>${esc(what)}</span></div>`).join("")}</div>`;
}

/** How long a session lasted: as in lists, by the recorder's clock. Downloaded playback arrives at once, but has its own times. */
export function lengthWords({ batch, end_s: end, lasted_s: length }) {
  return batch ? `${lasted(end)} long by the device's clock` : `${lasted(length)} long`;
}

/** How a session ended or will end, `passed` seconds after its value was made: the remaining time counts down. */
export function endedWords({ ended, expires_at: expires }, madeAt, passed) {
  if (!expires) return ended;
  const left = Math.max(0, (Date.parse(expires) - Date.parse(madeAt)) / 1000 - passed);
  return `open, expires in ${clock(Math.floor(left))} unless an event comes`;
}

/** Fill the list of details of media, player, device and recording. The style shortens long values; copying gives all. */
export function identity(list, { identity: pairs }) {
  list.innerHTML = pairs.map(([label, value, kind]) => {
    const whole = esc(cut(value, LONGEST));
    return `<div><dt title="${esc(label)}">${esc(label)}</dt> <dd class="${esc(kind)}" title="${whole}"><bdi>${whole}</bdi></dd></div>`;
  }).join("");
}
