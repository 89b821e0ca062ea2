// Texts: the only way for device text into markup, and how times and numbers are written.

// Invisible characters, and those that reverse the text after them: shown by their number, so that nothing hides.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** A text with hidden characters written as escapes such as \u202e. For the canvas, and for textContent. */
export function visible(text) {
  return String(text).replace(HIDDEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A text for markup: between tags, and in quoted attributes. */
export function esc(text) {
  return visible(text).replace(/[&<>"'`]/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** A sentence of ours for markup; what is in `backticks` becomes code. */
export function prose(text) {
  return String(text).split("`").map((piece, k) => (k % 2 ? `<code>${esc(piece)}</code>` : esc(piece))).join("");
}

/** At most `most` characters of a text, whole ones. */
export function cut(text, most) {
  const characters = [...String(text).slice(0, 2 * most + 2)];
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : characters.join("");
}

function padded(number, digits = 2) {
  return String(number).padStart(digits, "0");
}

// Devices can send any number; beyond some centuries, a clock is of no use.
const LONGEST_CLOCK_S = 1e10;

// A time that has begun is not rounded up to the next: 24.5 s are at 0:24. Sums of binary fractions may be just below theirs.
function wholeUnits(seconds, unit) {
  return Math.floor(Math.abs(seconds) * unit + 1e-6);
}

/** Seconds as m:ss or h:mm:ss, with as many decimals as asked for. */
export function clock(seconds, decimals = 0) {
  if (!(Math.abs(seconds) < LONGEST_CLOCK_S)) return `${seconds.toExponential(1)} s`.replace("-", "−");
  const unit = 10 ** decimals, all = wholeUnits(seconds, unit);
  const rest = all % unit, whole = Math.floor(all / unit);
  const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
  const text = h ? `${h}:${padded(m)}:${padded(s)}` : `${m}:${padded(s)}`;
  return (seconds < 0 && all ? "−" : "") + text + (decimals ? `.${padded(rest, decimals)}` : "");
}

/** A length of time: in seconds below a minute, else as a clock. */
export function lasted(seconds) {
  if (seconds == null) return "–";
  const tenths = wholeUnits(seconds, 10);
  return tenths < 600 ? `${seconds < 0 && tenths ? "−" : ""}${tenths / 10} s` : clock(seconds);
}

/** Milliseconds with their unit. */
export function ms(value) {
  if (value == null) return "–";
  if (value < 10) return `${value.toFixed(1)} ms`;
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

/** A number with its sign, for differences. */
export function signed(value, decimals) {
  const size = Math.abs(value);
  return `${value < 0 ? "−" : "+"}${size < LONGEST_CLOCK_S ? size.toFixed(decimals) : size.toExponential(1)}`;
}

/** A number, with thousands parted. */
export function count(number) {
  return number.toLocaleString("en");
}

/** A number with its noun. */
export function plural(number, noun, many = `${noun}s`) {
  return `${count(number)} ${number === 1 ? noun : many}`;
}
