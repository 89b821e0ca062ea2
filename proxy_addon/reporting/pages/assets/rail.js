// Beside the timeline: the findings, or the chosen event instead of them.
import { eventMarkup } from "./event_view.js";
import { findingsMarkup } from "./finding_list.js";

/**
 * Two tabs in an element. `choose(i)` is called for the place of a finding, `step(by)` for the event before or after, and
 * `close()` to go back to the findings. `loadTraffic(seq)` returns a promise of traffic that has this exchange, and may
 * have others.
 */
export class Rail {
  #chosen = -1;
  #facts = null;
  #tab = "findings";
  #told = { findings: "", event: "" };
  #traffic = new Map();
  #wanted = new Map();

  constructor(root, { choose, step, close, loadTraffic, links }) {
    root.innerHTML =
      '<div class="tabs" role="tablist"><button type="button" role="tab" data-tab="findings"></button>' +
      '<button type="button" role="tab" data-tab="event"></button></div>' +
      '<div class="panel findings" role="tabpanel"></div><div class="panel event" role="tabpanel"></div>';
    const [tabs, findings, event] = root.children;
    this.root = root;
    this.tabs = { findings: tabs.children[0], event: tabs.children[1] };
    this.panels = { findings, event };
    for (const [name, tab] of Object.entries(this.tabs)) {
      const id = uniqueId();
      this.panels[name].id = id;
      tab.setAttribute("aria-controls", id);
      tab.id = `${id}-tab`;
      this.panels[name].setAttribute("aria-labelledby", tab.id);
    }
    this.loadTraffic = loadTraffic;
    this.links = links;
    this.#show("findings");
    root.addEventListener("click", (event) => {
      const pressed = event.target.closest("[data-tab],[data-go],[data-step],[data-close]");
      if (!pressed) return;
      const { tab, go, step: by } = pressed.dataset;
      if (tab) this.#show(tab);
      else if (go) choose(this.#facts.numbers.get(Number(go)));
      else if (by) step(Number(by));
      else close();
    });
    tabs.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = this.tabs[this.#tab === "findings" ? "event" : "findings"];
      if (other.disabled) return;
      this.#show(this.#tab === "findings" ? "event" : "findings");
      other.focus();
      event.preventDefault();
    });
  }

  /** Show a new value; what is open stays open, and the chosen event may have another position. */
  update(facts, chosen) {
    this.#facts = facts;
    this.#chosen = chosen;
    if (chosen >= 0) this.#load(facts.E.q[chosen]);
    this.#tell();
  }

  /** Read the traffic again from an exchange on: the numbers of these exchanges have changed. */
  forget(seq) {
    for (const known of [this.#traffic, this.#wanted]) {
      for (const each of [...known.keys()]) if (each >= seq) known.delete(each);
    }
  }

  /** Show an event; -1 for the findings. */
  open(i) {
    this.#chosen = i;
    if (i >= 0) this.#load(this.#facts.E.q[i]);
    this.#tell();
    this.#show(i < 0 ? "findings" : "event");
    this.root.scrollTop = this.panels.event.scrollTop = 0;
  }

  /** Move the focus into it. */
  focus() {
    this.panels[this.#tab].querySelector("button, summary, a")?.focus();
  }

  #load(seq) {
    if (this.#traffic.has(seq) || this.#wanted.has(seq)) return;
    const asked = this.loadTraffic(seq);
    this.#wanted.set(seq, asked);
    asked.then((traffic) => {
      if (this.#wanted.get(seq) !== asked) return; // this number belongs to another exchange now
      for (const known of Object.keys(traffic.rows)) this.#traffic.set(Number(known), traffic);
      if (!this.#traffic.has(seq)) this.#traffic.set(seq, traffic);
      this.#tell();
    }).catch(() => {
      if (this.#wanted.get(seq) !== asked) return;
      this.#wanted.delete(seq); // the next opening tries again
      this.panels.event.querySelector(".reading")?.replaceChildren("The request could not be read.");
    });
  }

  #show(tab) {
    this.#tab = tab;
    for (const [name, button] of Object.entries(this.tabs)) {
      button.setAttribute("aria-selected", String(name === tab));
      button.tabIndex = name === tab ? 0 : -1;
      this.panels[name].hidden = name !== tab;
    }
  }

  #tell() {
    const facts = this.#facts, i = this.#chosen;
    this.tabs.findings.textContent = `Findings ${facts.value.findings.length}`;
    this.tabs.event.textContent = i < 0 ? "Event" : `Event #${facts.E.n[i]}`;
    this.tabs.event.disabled = i < 0;
    const findings = findingsMarkup(facts, this.links);
    this.#fill("findings", findings, findings);
    if (i < 0) {
      this.#fill("event", "", "");
      return;
    }
    const { E } = facts, traffic = this.#traffic.get(E.q[i]) ?? null;
    // The number of events taken grows while the session goes on; that alone must not redraw an event that somebody reads.
    const key = JSON.stringify([E.n[i], E.r[i], E.st[i], E.s[i], E.f[i].map((index) => facts.message(index, i)), traffic !== null]);
    this.#fill("event", key, eventMarkup(facts, i, traffic));
  }

  // Redraw only what has changed, so that text does not move while it is read, and keep open what is open.
  #fill(name, key, markup) {
    if (this.#told[name] === key) return;
    this.#told[name] = key;
    const panel = this.panels[name], folds = new Map([...panel.querySelectorAll("[data-fold]")].map((fold) => [fold.dataset.fold, fold.open]));
    panel.innerHTML = markup;
    for (const fold of panel.querySelectorAll("[data-fold]")) fold.open = folds.get(fold.dataset.fold) ?? fold.open;
  }
}

let ids = 0;

/** An id that no other element of the page has. */
export function uniqueId() {
  return `part-${++ids}`;
}
