// The checklist of a scenario: what holds, what does not, and where to look.
import { icon } from "./icons.js";
import { esc } from "./words.js";

/** The checklist as markup; failures lead to the events of the sessions below. */
export function checklist({ lines, names, sessions }) {
  const groups = Map.groupBy(lines, (line) => line.session);
  return [...groups].map(([session, group]) => {
    const row = sessions[session - 1], name = session === null ? "" : `<h3>${esc(names[session - 1])}</h3>`;
    return `${name}<ul>${group.map((line) => lineMarkup(line, row)).join("")}</ul>`;
  }).join("");
}

function lineMarkup({ that, ok, failures }, row) {
  const told = failures.map(({ message, number }) => {
    const where = number !== null && row ? ` <a href="#s${row.part}/e${number}">show #${number}</a>` : "";
    return `<p>${esc(message)}${where}</p>`;
  });
  return `<li class="${ok ? "held" : "failed"}">${icon(ok ? "pass" : "error", ok ? "Holds" : "Fails")}<div>${esc(that)}${told.join("")}</div></li>`;
}
