// Pages that are written as documents, and can be read without a script: a replay run, the rules, the schemas. The script
// adds the theme button, and a filter for elements with `data-verdict` or `data-find`.
import { goToSearch, header, onKey } from "./family.js";

/** Take over the document. */
function mountDocument() {
  document.documentElement.classList.add("js");
  const crumbs = document.getElementById("crumbs");
  const isServed = crumbs.querySelector(".pages") !== null;
  const steps = [...crumbs.querySelectorAll("nav:not(.pages) > :not(b, [aria-hidden])")];
  header(crumbs, steps.map((step) => ({ text: step.textContent, href: step.getAttribute("href") })), isServed);
  const find = document.getElementById("find");
  if (find) filterBy(find, document.getElementById("verdict"));
}

function filterBy(find, verdict) {
  const rows = [...document.querySelectorAll("[data-verdict], [data-find]")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const told = document.getElementById("shown");
  // A session of a run has a row and, below, its steps: it counts once.
  const counting = rows.filter((row) => row.matches("tr, [data-find]"));

  function filter() {
    const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, k) => {
      const is = (!verdict?.value || row.dataset.verdict === verdict.value) && wanted.every((word) => texts[k].includes(word));
      row.hidden = !is;
    });
    for (const group of document.querySelectorAll("[data-group]")) group.hidden = !group.querySelector("tr[data-find]:not([hidden])");
    const shown = counting.filter((row) => !row.hidden).length;
    told.textContent = shown === counting.length ? "" : `${shown} of ${counting.length} shown`;
  }

  find.addEventListener("input", filter);
  verdict?.addEventListener("change", filter);
  onKey("/", () => goToSearch(find));
}

mountDocument();
