// A body as it was sent, one member a line. The text of each value is kept (5.0 stays 5.0, 1e3 stays 1e3), each line knows
// its JSON Pointer, and a finding stands below its line like the message of a compiler.
import { SEVERITIES } from "./icons.js";
import { count, cut, esc, prose } from "./words.js";

// Strings by the unrolled loop: a long one must not fill the stack of the regular expression.
const TOKEN = /\s*("[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][0-9.eE+-]*|true|false|null|[{}[\],:])/y;
const DEEPEST = 32, MOST_LINES = 4000, LONGEST_VALUE = 20_000;

/**
 * A JSON text as lines: `{ pointer, depth, name, text, kind, comma }`, where `pointer` is null for a closing bracket. `name`
 * is the member's name as it was written, `kind` is "text" for strings, "value" for others, "" for brackets. Returns null if
 * the text is not JSON.
 */
function jsonLines(text) {
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  const lines = [], open = [], end = text.trimEnd().length;
  let at = 0, name = null;

  const next = () => {
    TOKEN.lastIndex = at;
    const [, token] = TOKEN.exec(text);
    at = TOKEN.lastIndex;
    return token;
  };
  const peek = () => {
    const was = at, token = at < end ? next() : "";
    at = was;
    return token;
  };
  const here = () => {
    const inside = open.at(-1);
    if (!inside) return "";
    const step = inside.close === "]" ? inside.items++ : escaped(name);
    return `${inside.pointer}/${step}`;
  };
  const comma = () => (open.length && peek() === "," ? next() : "");

  // Bodies can be nested deeper than functions can call one another: a loop with a stack of its own.
  do {
    const inside = open.at(-1);
    if (inside && peek() === inside.close) {
      next();
      open.pop();
      lines.push({ pointer: null, depth: open.length, name: null, text: inside.close, kind: "", comma: comma() });
      continue;
    }
    name = null;
    if (inside?.close === "}") {
      name = next();
      next();
    }
    const pointer = here(), token = next(), depth = open.length;
    if (token !== "{" && token !== "[") {
      lines.push({ pointer, depth, name, text: token, kind: token[0] === '"' ? "text" : "value", comma: comma() });
      continue;
    }
    const close = token === "{" ? "}" : "]";
    if (peek() === close) {
      next();
      lines.push({ pointer, depth, name, text: token + close, kind: "", comma: comma() });
      continue;
    }
    lines.push({ pointer, depth, name, text: token, kind: "", comma: "" });
    open.push({ close, pointer, items: 0 });
  } while (open.length);
  return lines;
}

function escaped(name) {
  return JSON.parse(name).replaceAll("~", "~0").replaceAll("/", "~1");
}

/**
 * A body as markup; `label` says which one it is.
 *
 * `body` is as in the traffic: `text` or `base64`, and `truncated` with `length`. `element` is a position in the list, from
 * 0, if only this element is to be shown. `notes` are `{ pointer, severity, message }`; the pointer of an absent member
 * marks the nearest object above it.
 */
export function bodyMarkup(body, { label, element = null, notes = [] }) {
  const { text, base64, truncated, length } = body;
  const whole = truncated ? `<p class="dim small">Only the beginning of this body of ${count(length)} bytes is stored.</p>` : "";
  if (text === undefined) {
    const bytes = esc(cut(base64, LONGEST_VALUE));
    return `<p class="dim small">The body is not text; this is its Base64:</p><pre class="body">${bytes}</pre>${whole}`;
  }
  if (!text) return '<p class="dim">No body.</p>';
  const all = linesOf(body);
  if (!all) return `<pre class="body">${raw(text)}</pre>${notes.map(noteMarkup).join("")}${whole}`;
  const lines = element === null ? all : elementOf(all, element);
  const told = lines.slice(0, MOST_LINES), byLine = notesByLine(told, notes);
  const more = lines.length > told.length ? `<p class="dim small">and ${lines.length - told.length} more lines</p>` : "";
  const markup = told.map((line, k) => lineMarkup(line, byLine.get(k) ?? [])).join("");
  return `<div class="body" tabindex="0" role="region" aria-label="${label}">${markup}</div>${more}${whole}`;
}

// A batch is one body for all its events: it is read once.
const known = new WeakMap();

function linesOf(body) {
  if (!known.has(body)) known.set(body, jsonLines(body.text));
  return known.get(body);
}

// Line breaks stay; other invisible characters are shown as escapes.
function raw(text) {
  return cut(text, LONGEST_VALUE).split("\n").map(esc).join("\n");
}

// The lines of one element of a list, as if it were the whole body.
function elementOf(lines, element) {
  const prefix = `/${element}`, begin = lines.findIndex((line) => line.pointer === prefix);
  if (begin < 0) return lines;
  const rest = lines.slice(begin + 1), isInside = ({ depth, pointer }) => depth > 1 || (depth === 1 && pointer === null);
  const end = rest.findIndex((line) => !isInside(line)), inside = [lines[begin], ...rest.slice(0, end < 0 ? rest.length : end)];
  return inside.map((line, k) => ({
    ...line, depth: line.depth - 1, comma: k === inside.length - 1 ? "" : line.comma,
    pointer: line.pointer === null ? null : line.pointer.slice(prefix.length),
  }));
}

function notesByLine(lines, notes) {
  const places = new Map();
  lines.forEach((line, k) => { if (line.pointer !== null && !places.has(line.pointer)) places.set(line.pointer, k); });
  const found = new Map();
  for (const note of notes) {
    let pointer = note.pointer;
    while (pointer && !places.has(pointer)) pointer = pointer.slice(0, pointer.lastIndexOf("/"));
    const k = places.get(pointer) ?? 0;
    found.set(k, [...(found.get(k) ?? []), note]);
  }
  return found;
}

function lineMarkup({ depth, name, text, kind, comma }, notes) {
  const indent = "  ".repeat(Math.min(depth, DEEPEST)), shown = esc(cut(text, LONGEST_VALUE));
  const label = name === null ? "" : `<span class="name">${esc(name)}</span>: `;
  const value = kind ? `<span class="${kind}">${shown}</span>` : shown;
  const worst = SEVERITIES.find((severity) => notes.some((note) => note.severity === severity));
  return `<div${worst ? ` class="hit s-${worst}"` : ""}>${indent}${label}${value}${comma}</div>${notes.map(noteMarkup).join("")}`;
}

function noteMarkup({ severity, message }) {
  return `<div class="hit note s-${severity}">↑ ${prose(message)}</div>`;
}
