// One session: verdict, identity, timeline, findings, what reports will count, events.
import { header } from "./family.js";
import { verdictBar, identity } from "./verdict_bar.js";

/**
 * Show a session in an empty element.
 *
 * `loadTraffic` returns a promise of the requests and answers; it is called when an event is first opened. `links` says
 * where things are: `{ sessions: href, session: (id) => href, rule: (id) => href, event: (number) => href }`, each may be
 * missing, or return null for what has no page.
 *
 * Returns `update(value)`, which takes a new value and keeps view, choice and filters, and `destroy()`.
 */
export function mountSession(root, value, { loadTraffic, links = {} }) {
  root.innerHTML = '<header class="top"><div></div><div class="verdict"></div><dl class="ident"></dl></header>';
  const [crumbs, verdict, ident] = root.firstElementChild.children;
  void loadTraffic;

  function update(next) {
    header(crumbs, [{ text: "Sessions", href: links.sessions }, { text: next.session.id, mono: true }]);
    verdictBar(verdict, next);
    identity(ident, next);
  }

  update(value);
  return { update, destroy: () => root.replaceChildren() };
}
