// The evidence for scenarios: a checklist for each, and the sessions that it is about, of which one is open at a time. The
// address says which, as #s2 or, with an event of it, #s2/e12.
import { part } from "./embedded.js";
import { checklist } from "./evidence_list.js";
import { header, onPrint } from "./family.js";
import { VERDICTS, icon } from "./icons.js";
import { mountSession } from "./session.js";
import { stripMarkup } from "./strips.js";
import { count, cut, esc, plural } from "./words.js";

const page = await part("value");
// All are unpacked at once, because printing does not wait.
const drawn = await Promise.all(page.scenarios.flatMap(({ sessions }) => sessions).map((row) => part(`session-${row.part}`)));

mountEvidence(document.getElementById("root"));

function mountEvidence(root) {
  const { scenarios } = page, failed = scenarios.filter(({ passed }) => !passed);
  root.innerHTML = `<div class="evidence"><header class="top"><div></div>${scenarios.length > 1 ? overall(failed.length) : ""}</header>` +
    `<p class="astray" role="status"></p>${scenarios.map(scenarioMarkup).join("")}<footer></footer></div>`;
  header(root.querySelector(".top > div"), [{ text: "Evidence" }]);
  const tokens = page.pseudonymised ? "Tokens stand for personal values. " : "Personal values are in it as they were sent. ";
  root.querySelector("footer").textContent = `Made ${page.made_at.slice(0, 16).replace("T", " ")} UTC by sessiontape ${page.version}. ${tokens}` +
    "Metrics are an estimate of what reports will count.";

  const folds = new Map([...root.querySelectorAll(".played")].map((fold) => [Number(fold.dataset.part), fold]));
  const mounted = new Map();

  function open(number, event = null) {
    if (!mounted.has(number)) {
      for (const other of [...mounted.keys()]) close(other);
      mount(number, event);
    } else if (event !== null) mounted.get(number).choose(event);
  }

  function mount(number, event = null) {
    const fold = folds.get(number), box = fold.querySelector(".one");
    fold.querySelector("button").setAttribute("aria-expanded", "true");
    box.hidden = false;
    mounted.set(number, mountSession(box, drawn[number], {
      loadTraffic: () => part(`traffic-${number}`),
      links: { sessions: null, session: () => null, event: (chosen) => (chosen === null ? `#s${number}` : `#s${number}/e${chosen}`) },
      isRaw: !page.pseudonymised,
      number: event,
    }));
  }

  function close(number) {
    const fold = folds.get(number), box = fold.querySelector(".one");
    mounted.get(number).destroy();
    mounted.delete(number);
    box.hidden = true;
    fold.querySelector("button").setAttribute("aria-expanded", "false");
  }

  function follow() {
    const [, number, event] = /^#s(\d+)(?:\/e(\d+))?$/.exec(location.hash) ?? [];
    const isHere = folds.has(Number(number)), isAstray = !isHere && location.hash && !document.getElementById(location.hash.slice(1));
    root.querySelector(".astray").textContent = isAstray ? `The address names what is not on this page: ${cut(location.hash, 80)}` : "";
    if (!isHere) return;
    open(Number(number), event === undefined ? null : Number(event));
    folds.get(Number(number)).scrollIntoView();
  }

  for (const [number, fold] of folds) {
    fold.querySelector("button").addEventListener("click", () => {
      if (mounted.has(number)) close(number);
      else open(number);
    });
  }
  // Paper shows all of them.
  onPrint(() => {
    const closed = [...folds.keys()].filter((number) => !mounted.has(number));
    for (const number of closed) mount(number);
    return () => {
      for (const number of closed) close(number);
    };
  });
  addEventListener("hashchange", follow);
  if (folds.size === 1) open([...folds.keys()][0]);
  follow();
}

function overall(failed) {
  const level = failed ? "fail" : "pass", [word, sign] = VERDICTS[level], all = page.scenarios.length;
  const links = page.scenarios.map(({ title, passed }, k) =>
    `<a href="#scenario-${k}">${icon(passed ? "pass" : "error", passed ? "Pass" : "Fail")} ${esc(title)}</a>`);
  const numbers = [["passed", all - failed, ""], ["failed", failed, "bad"]];
  return verdictMarkup(level, word, sign, `${count(all - failed)} of ${plural(all, "scenario")} passed`, links.join(" "), numbers);
}

function verdictMarkup(level, word, sign, title, more, numbers, tag = "h1") {
  return `<div class="verdict v-${level}"><div class="word">${icon(sign, word)}<span>${word}</span></div>` +
    `<div><${tag}>${esc(title)}</${tag}><p class="more">${more}</p></div><div class="nums">${numbers.map(([label, number, tone]) =>
      `<div class="${number ? tone : "zero"}"><b>${count(number)}</b><span>${label}</span></div>`).join("")}</div></div>`;
}

function scenarioMarkup(scenario, k) {
  const level = scenario.passed ? "pass" : "fail", [word, sign] = VERDICTS[level];
  const failed = scenario.lines.filter(({ ok }) => !ok).length, held = scenario.lines.length - failed;
  const tag = page.scenarios.length > 1 ? "h2" : "h1";
  const steps = scenario.steps.map((step) => `<li>${esc(step)}</li>`).join("");
  const sources = scenario.sources.map((source) => `<li>${esc(source)}</li>`).join("");
  return `<article class="scenario" id="scenario-${k}" aria-label="${esc(scenario.title)}">` +
    verdictMarkup(level, word, sign, scenario.title, esc(scenario.about), [["hold", held, ""], ["fail", failed, "bad"]], tag) +
    `<div class="columns"><section class="checks" aria-label="Checklist">${checklist(scenario)}</section>` +
    `<section class="asked" aria-label="What was to be done"><h3>What was to be done</h3><ol>${steps}</ol>` +
    `<h3>What it rests on</h3><ul>${sources}</ul></section></div>` +
    `${scenario.sessions.map(playedMarkup).join("")}</article>`;
}

function playedMarkup(row) {
  const [word, sign] = VERDICTS[row.verdict], name = row.name ?? "A session that the scenario does not have";
  const about = row.media_name ?? row.media_id ?? row.id;
  return `<section class="played" data-part="${row.part}" id="session-${row.part}" aria-label="${esc(name)}">` +
    `<h3><button type="button" aria-expanded="false">${icon(sign, word)}<span class="name">${esc(name)}</span></button>` +
    `${stripMarkup(row.strip)}<span class="dim">${esc(cut(about, 80))} · ${plural(row.events, "event")} · ${esc(row.headline ?? "")}</span></h3>` +
    '<div class="one" hidden></div></section>';
}
