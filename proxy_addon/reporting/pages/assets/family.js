// What all pages have: the line at the top, light or dark, and keys.
import { esc } from "./words.js";

const handlers = new Map();
const repainting = new Set();
let listening = false;

/** Call `handler` at a key while no text is typed: "j", "k", "/", "Escape". The latest of a key wins. Returns what undoes it. */
export function onKey(key, handler) {
  if (!listening) {
    document.addEventListener("keydown", press);
    listening = true;
  }
  const list = handlers.get(key) ?? [];
  handlers.set(key, [...list, handler]);
  return () => handlers.set(key, handlers.get(key).filter((each) => each !== handler));
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const typing = event.target.matches("input:not([type=checkbox]), textarea, select");
  if (typing) {
    if (event.key === "Escape") {
      event.preventDefault(); // a browser would empty the search, and what it found would stay
      event.target.blur();
    }
    return;
  }
  // Enter and space press what has the focus.
  if (event.key === "Enter" && event.target.matches("a, button, summary")) return;
  const handler = handlers.get(event.key)?.at(-1);
  if (!handler) return;
  event.preventDefault();
  handler(event);
}

/** What stands in a search field: its key only where there are keys. */
export const SEARCH_HINT = matchMedia("(pointer: coarse)").matches ? "Search" : "Search  /";

/** Go to a search field; typing replaces what was searched before. */
export function goToSearch(field) {
  field.focus();
  field.select();
}

/** Call `paint` when the colours change: by the button or by the system. Returns what undoes it. */
export function onColours(paint) {
  if (!repainting.size) matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  repainting.add(paint);
  return () => {
    repainting.delete(paint);
    if (!repainting.size) matchMedia("(prefers-color-scheme: dark)").removeEventListener("change", repaint);
  };
}

function repaint() {
  for (const paint of repainting) paint();
}

const preparing = new Set();
let screenAgain = null;

/**
 * Call `prepare` before the page is printed, with the colours of paper; what it returns is called afterwards, to have the
 * screen as it was. Returns what undoes it.
 */
export function onPrint(prepare) {
  if (!preparing.size) {
    addEventListener("beforeprint", toPaper);
    addEventListener("afterprint", toScreen);
  }
  preparing.add(prepare);
  return () => {
    toScreen();
    preparing.delete(prepare);
    if (preparing.size) return;
    removeEventListener("beforeprint", toPaper);
    removeEventListener("afterprint", toScreen);
  };
}

function toPaper() {
  if (screenAgain) return;
  const { dataset } = document.documentElement, theme = dataset.theme;
  dataset.theme = "light"; // whatever the screen is
  const restores = Array.from(preparing, (prepare) => prepare()); // those too that one of them adds
  screenAgain = () => {
    if (theme === undefined) delete dataset.theme;
    else dataset.theme = theme;
    for (const restore of restores.reverse()) restore();
  };
}

function toScreen() {
  const again = screenAgain;
  screenAgain = null; // what is taken away now says so by `onPrint`
  again?.();
}

// A chosen theme holds for all pages of a server. A page that was opened as a file may have no storage, so it forgets it.
const THEME = "sessiontape-theme";

function systemTheme() {
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

function turnTheme() {
  const { dataset } = document.documentElement, system = systemTheme();
  const next = (dataset.theme || system) === "dark" ? "light" : "dark";
  if (next === system) delete dataset.theme;
  else dataset.theme = next;
  try {
    if (next === system) localStorage.removeItem(THEME);
    else localStorage.setItem(THEME, next);
  } catch {
    // nowhere to remember it
  }
  repaint();
}

function rememberTheme() {
  try {
    const chosen = localStorage.getItem(THEME);
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // nothing was remembered
  }
}

rememberTheme();

const SERVED_PAGES = '<nav aria-label="Other pages" class="pages">' +
  '<a href="/runs">Runs</a> <a href="/rules">Rules</a> <a href="/schemas">Schemas</a></nav>';

/**
 * Fill an element with the line at the top of a page.
 *
 * `crumbs` leads to the page: `{ text, href, mono }` each, the last one is the page itself. `href` is ours, never a
 * device's. `isServed` adds links to the other pages of our server. Returns the element before the theme's button, where a
 * page may put tools of its own.
 */
export function header(root, crumbs, isServed = false) {
  const steps = crumbs.map(({ text, href, mono }, k) => {
    const kind = mono ? ' class="mono"' : "", here = k === crumbs.length - 1 ? ' aria-current="page"' : "";
    return href ? `<a href="${esc(href)}"${kind}${here}>${esc(text)}</a>` : `<span${kind}${here}>${esc(text)}</span>`;
  });
  root.classList.add("crumb");
  const path = steps.map((step) => ` <span aria-hidden="true">›</span> ${step}`).join("");
  root.innerHTML =
    `<nav aria-label="Breadcrumb"><b>sessiontape</b>${path}</nav><span class="space"></span><span class="more"></span>` +
    (isServed ? SERVED_PAGES : "") +
    '<button type="button" class="theme" title="Light or dark" aria-label="Light or dark">◐</button>';
  root.querySelector(".theme").addEventListener("click", turnTheme);
  return root.querySelector(".more");
}
