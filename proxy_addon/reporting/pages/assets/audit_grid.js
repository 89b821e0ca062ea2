// Tables whose cells can be gone through by keys: arrows move, Home and End go to the ends of a row, Enter opens.

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/**
 * Let keys and the pointer go through a table with `role="grid"`; call `restart` when its cells are new.
 *
 * `look(cell)` is called for the cell under the pointer or with the focus, with null when there is none; `open(cell)` for one
 * that is clicked, or at Enter.
 */
export function walkable(table, { look = () => {}, open = () => {} }) {
  let current = null;

  function rows() {
    return [...table.rows].filter((row) => !row.classList.contains("opened"));
  }

  function focus(cell) {
    if (current) current.tabIndex = -1;
    current = cell;
    cell.tabIndex = 0;
    cell.focus();
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("th, td");
    if (event.target !== cell || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = STEPS[event.key], all = rows(), at = all.indexOf(cell.parentElement);
    if (step) {
      const row = all[Math.max(0, Math.min(all.length - 1, at + step[0]))];
      focus(row.cells[Math.max(0, Math.min(row.cells.length - 1, cell.cellIndex + step[1]))]);
    } else if (event.key === "Home") focus(cell.parentElement.cells[0]);
    else if (event.key === "End") focus([...cell.parentElement.cells].at(-1));
    else if (event.key === "Enter" || event.key === " ") open(cell);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  table.addEventListener("click", ({ target }) => {
    const cell = target.closest("th, td");
    if (!cell || cell.closest(".opened") || target.closest("a")) return;
    focus(cell);
    open(cell);
  });
  table.addEventListener("mouseover", ({ target }) => look(target.closest("th, td")));
  table.addEventListener("mouseleave", () => look(null));
  table.addEventListener("focusin", ({ target }) => look(target.closest("th, td")));
  table.addEventListener("focusout", () => look(null));
  return {
    restart() {
      current = table.rows[0]?.cells[0] ?? null;
      if (current) current.tabIndex = 0;
    },
  };
}
