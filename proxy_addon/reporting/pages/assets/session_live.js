// The page of one session while it goes on.
import { part } from "./embedded.js";
import { follow, troubleLine } from "./live.js";
import { mountSession } from "./session.js";

let followed = await part("value"), heldTraffic = null, isDrawing = false;
const ownAddress = `/sessions/${encodeURIComponent(followed.session.id)}`;
const mountedSession = mountSession(document.getElementById("root"), followed, {
  loadTraffic: () => (heldTraffic ??= orNone(loadedTraffic(0))),
  links: { sessions: "/", session: (id) => `/sessions/${encodeURIComponent(id)}`, rule: () => null },
});
const sessionTrouble = troubleLine();

follow(() => `${ownAddress}/live`, { session: takeNews, store: sessionTrouble.onStore }, sessionTrouble.onState);

function takeNews(news) {
  const next = news.whole ? news.value : changedValue(followed, news);
  sessionTrouble.onGone(next ? "" : "This session was deleted.");
  if (!next) return;
  followed = next;
  if (heldTraffic) heldTraffic = orNone(withNewTraffic(heldTraffic));
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

async function loadedTraffic(after) {
  const answer = await fetch(`${ownAddress}/traffic.json?after=${after}`);
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer.json();
}

/** A promise of traffic that is asked for again if it fails. */
function orNone(loading) {
  loading.catch(() => { heldTraffic = null; });
  return loading;
}

/** The same object with what has come since, so that whoever holds it finds that, too. */
async function withNewTraffic(loading) {
  const known = await loading, last = Math.max(0, ...Object.keys(known.rows).map(Number));
  if (Math.max(0, ...followed.events.q) <= last) return known;
  const more = await loadedTraffic(last), offset = known.headers.length;
  known.headers.push(...more.headers);
  for (const [seq, row] of Object.entries(more.rows)) {
    row[3][0] += offset;
    if (row[7]) row[7][2][0] += offset;
    known.rows[seq] = row;
  }
  return known;
}
