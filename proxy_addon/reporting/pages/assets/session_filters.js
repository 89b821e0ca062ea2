// The filters of the list: a form, and the filters in effect as buttons that remove them.
import { SEARCH_HINT } from "./family.js";
import { cut, esc } from "./words.js";

const STATE_FILTERS = ["open", "completed", "ended", "expired", "failed", "partial"];
const TEXT_FILTERS = [
  ["player", "Player", "name or a part of it"], ["media", "Media", "ID or name, or a part"], ["user-agent", "User-Agent", "a part of it"],
  ["name", "Recording", "its name"], ["since", "Since", "2h, 7d or 2026-11-24T08:15Z"], ["until", "Until", "30m or 2026-11-24"],
];
const TYPED_MS = 300, SEVERAL = "*";

/** Fill an element with the form. `choose(pairs)` is called with the filters that are wanted. Returns `show(pairs)`. */
export function mountFilters(root, choose) {
  root.innerHTML =
    `<form role="search" aria-label="Sessions"><input type="search" name="q" placeholder="${SEARCH_HINT}" ` +
    'aria-label="Search in media, player, User-Agent and IDs" autocomplete="off">' +
    `<label>State <select name="state"><option value="">any</option><option value="${SEVERAL}" hidden>several</option>` +
    `${STATE_FILTERS.map((s) => `<option>${s}</option>`).join("")}</select></label>` +
    '<label><input type="checkbox" name="with-findings" value="1"> with findings</label>' +
    `<details class="others"><summary>More filters</summary><div>${TEXT_FILTERS.map(([name, text, hint]) =>
      `<label>${text} <input name="${name}" placeholder="${hint}" autocomplete="off"></label>`).join("")}` +
    "<button>Apply</button></div></details></form>" +
    '<ul class="filters" aria-label="Filters in effect"></ul>';
  const [form, list] = root.children;
  const { elements } = form;
  let timer = 0, shown = [];

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  form.addEventListener("input", ({ target }) => {
    clearTimeout(timer);
    if (target.name === "q") timer = setTimeout(apply, TYPED_MS);
  });
  form.addEventListener("change", ({ target }) => target.matches("select, [type=checkbox]") && apply());
  list.addEventListener("click", ({ target }) => {
    const word = target.closest("button");
    if (word) want(shown.filter((_, k) => k !== Number(word.dataset.k)));
  });

  function apply() {
    clearTimeout(timer);
    const given = [...new FormData(form)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value);
    // The address can name several states, the form only one: several stay in effect until the user chooses one.
    const states = shown.filter(([name]) => name === "state");
    want(given.flatMap(([name, value]) => (name === "state" && value === SEVERAL ? states : [[name, value]])));
  }

  // The form changes at once, so that the next choice starts from these filters and not from those of the list still shown.
  function want(pairs) {
    show(pairs);
    choose(pairs);
  }

  function show(pairs) {
    shown = pairs;
    const given = new Map(pairs);
    if (pairs.filter(([name]) => name === "state").length > 1) given.set("state", SEVERAL);
    for (const field of elements) {
      if (field.type === "checkbox") field.checked = given.has(field.name);
      else if (field.name && field !== document.activeElement) field.value = given.get(field.name) ?? "";
    }
    list.innerHTML = pairs.map(([name, value], k) => {
      const words = name === "with-findings" ? "with findings" : `${name === "q" ? "search" : name}: ${cut(value, 60)}`;
      return `<li><button type="button" data-k="${k}" title="Remove this filter">${esc(words)} ✕</button></li>`;
    }).join("");
  }

  return { show, search: elements.q };
}
