// The live page of one session.
import { part } from "./embedded.js";
import { follow, troubleLine } from "./live.js";
import { mountSession } from "./session.js";

let followed = await part("value"), isDrawing = false;
const ownAddress = `/sessions/${encodeURIComponent(followed.session.id)}`;
const chosenFirst = /^#e(\d+)$/.exec(location.hash);
const mountedSession = mountSession(document.getElementById("root"), followed, {
  loadTraffic: loadExchange,
  links: {
    sessions: "/",
    session: (id) => `/sessions/${encodeURIComponent(id)}`,
    run: (id, session) => `/runs/${encodeURIComponent(id)}/${encodeURIComponent(session)}`,
    rule: (id) => `/rules/${encodeURIComponent(id)}`,
    compare: (one, other) => `/compare/${encodeURIComponent(one)}/${encodeURIComponent(other)}`,
  },
  isLive: true,
  number: chosenFirst && Number(chosenFirst[1]),
});
const sessionTrouble = troubleLine();

follow(() => `${ownAddress}/live`, { session: takeNews, store: sessionTrouble.onStore }, sessionTrouble.onState);

function takeNews(news) {
  const next = news.whole ? news.value : changedValue(followed, news);
  sessionTrouble.onGone(next ? "" : "This session was deleted.");
  if (!next) return;
  followed = next;
  if (isDrawing) return;
  isDrawing = true; // At most once a frame, however fast news come.
  requestAnimationFrame(() => {
    isDrawing = false;
    mountedSession.update(followed);
  });
}

/** The value after a change: members that are set, and columns of events from where they differ. */
function changedValue(old, { set, events }) {
  const columns = { ...old.events };
  for (const [name, [from, rest]] of Object.entries(events)) columns[name] = columns[name].slice(0, from).concat(rest);
  return { ...old, ...set, events: columns };
}

async function loadExchange(seq) {
  const answer = await fetch(`${ownAddress}/traffic/${seq}.json`), value = await answer.json();
  if (!answer.ok) throw new Error(value.error);
  return value;
}
