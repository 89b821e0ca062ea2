// The list of sessions on its server: the filters stand in the address, and what is recorded appears.
import { part } from "./embedded.js";
import { follow, troubleLine } from "./live.js";
import { mountSessions } from "./sessions.js";

let chosenQuery = location.search, askingNumber = 0;
const sessionList = mountSessions(document.getElementById("root"), await part("value"), {
  choose(pairs) {
    const next = pairs.length ? `?${new URLSearchParams(pairs)}` : "";
    if (next === chosenQuery) return;
    history.pushState(null, "", `/${next}`);
    showList(next);
  },
  async more(id) {
    const number = askingNumber, value = await askedList(chosenQuery, { before: id });
    if (!value || number !== askingNumber) return;
    sessionList.add(value);
    listStream.again(); // From now on, it follows these too.
  },
});
const listTrouble = troubleLine();
const listStream = follow(
  () => `/live${queryWith(chosenQuery, { rows: sessionList.size() })}`,
  { sessions: sessionList.change, store: listTrouble.onStore },
  listTrouble.onState,
);
addEventListener("popstate", () => showList(location.search));

/** Show another list. The answer to an earlier choice no longer counts. */
async function showList(next) {
  chosenQuery = next;
  const number = ++askingNumber, value = await askedList(next, {});
  if (!value || number !== askingNumber) return;
  sessionList.replace(value);
  listStream.again();
}

async function askedList(filters, others) {
  try {
    const answer = await fetch(`/sessions.json${queryWith(filters, others)}`), value = await answer.json();
    if (answer.ok) return value;
    sessionList.fail(value.hint ? `${value.error}; ${value.hint}` : value.error);
  } catch {
    sessionList.fail("The server does not answer.");
  }
  return null;
}

function queryWith(filters, others) {
  const all = new URLSearchParams(filters);
  for (const [name, value] of Object.entries(others)) all.set(name, value);
  return all.size ? `?${all}` : "";
}
