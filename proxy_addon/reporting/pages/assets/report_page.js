// Sessions in one file: the list, and in its place the page of the session that was opened. The address says which, as #ID or,
// with an event of it, #ID/e12, so that back and forward work. A file with one session has no list. Comparisons are
// #compare-N.
import { mountCompare } from "./compare.js";
import { part } from "./embedded.js";
import { header } from "./family.js";
import { VERDICTS, icon } from "./icons.js";
import { COMPARED, comparisonList } from "./report_comparisons.js";
import { mountReportList } from "./report_list.js";
import { mountSession } from "./session.js";
import { count, esc, plural } from "./words.js";

mountReport(document.getElementById("root"), await part("value"));

function mountReport(root, report) {
  root.innerHTML =
    `<div class="report"><header class="top"><div></div><div class="verdict"></div></header>${comparisonList(report)}` +
    '<main class="sessions"></main><footer></footer></div><div class="one" hidden></div>';
  const [overview, opened] = root.children, title = document.title;
  const parts = new Map(report.rows.filter((row) => row.part !== null).map((row) => [row.id, row.part]));
  const list = mountReportList(overview.querySelector("main"), report, {
    hrefOf: ({ id, part: number }) => (number === null ? null : reportAddress(id)),
  });
  const only = report.rows.length === 1 && !report.comparisons.length && !report.remarks.length ? report.rows[0].id : null;
  let mounted = null, mountedId = null, asked = 0, scrolled = 0, hadEvent = false;

  overview.hidden = only !== null;
  reportHead(overview.querySelector(".top"), report);
  overview.querySelector("footer").textContent =
    `Made ${report.made_at.slice(0, 16).replace("T", " ")} UTC by sessiontape ${report.version}. Metrics are an estimate of what reports will count.`;

  async function follow() {
    const { id: wanted, event: number } = reportAddressed(), id = only ?? wanted;
    if (id === mountedId) {
      if (number !== null) mounted?.choose?.(number);
      return;
    }
    const comparison = report.comparisons.find((each) => COMPARED + each.part === id);
    if (!parts.has(id) && !comparison) {
      back();
      return;
    }
    const turn = ++asked, value = await part(comparison ? `comparison-${comparison.part}` : `session-${parts.get(id)}`);
    if (turn !== asked) return; // another one was asked for meanwhile
    if (mounted === null) scrolled = scrollY;
    close();
    mountedId = id;
    list.hide();
    overview.hidden = true;
    opened.hidden = false;
    scrollTo(0, 0);
    if (comparison) {
      const sides = value.sides.map(({ page: { session } }) => (parts.has(session.id) ? reportAddress(session.id) : null));
      mounted = mountCompare(opened, value, { sessions: "#", sides });
      document.title = `${comparison.names.join(" and ")} · ${title}`;
      return;
    }
    mounted = mountSession(opened, value, {
      loadTraffic: () => part(`traffic-${parts.get(id)}`),
      links: {
        sessions: only === null ? "#" : null,
        session: (other) => (parts.has(other) ? reportAddress(other) : null),
        event: (chosen) => (chosen === null ? reportAddress(id) : `${reportAddress(id)}/e${chosen}`),
      },
      isRaw: !report.pseudonymised,
      number,
    });
    document.title = `${value.session.media_name || value.session.media_id || value.session.id} · ${title}`;
  }

  function back() {
    const left = mountedId;
    asked += 1;
    close();
    opened.hidden = true;
    overview.hidden = false;
    document.title = title;
    list.show(left);
    scrollTo(0, scrolled);
  }

  function close() {
    mounted?.destroy();
    mounted = mountedId = null;
    opened.replaceChildren();
  }

  // Escape first closes the event, which the session's page does, and then the session.
  addEventListener("keydown", () => {
    hadEvent = reportAddressed().event !== null;
  }, { capture: true });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || mounted === null || only !== null || hadEvent || event.target.matches("input, textarea, select")) return;
    location.hash = "";
  });
  addEventListener("hashchange", follow);
  follow();
}

function reportHead(top, { level: verdict, remarks, verdicts, total, in_full: whole, pseudonymised }) {
  const [crumbs, box] = top.children, [word, sign] = verdict === null ? ["Empty", "info"] : VERDICTS[verdict];
  const told = whole < total
    ? `The list has all sessions. You can open the worst ${count(whole)}; the others are not in this file in full.`
    : "Each session can be opened, with its requests and answers.";
  const values = pseudonymised
    ? "Tokens stand for personal values: the same value has the same token in the whole file."
    : "This file contains personal values as they were sent.";
  const headlines = total ? [...remarks, told] : remarks;
  header(crumbs, [{ text: "Report" }]);
  box.classList.add(`v-${verdict ?? "none"}`);
  box.innerHTML =
    `<div class="word">${icon(sign, word)}<span>${word}</span></div>` +
    `<div><h1>${plural(total, "session")}</h1>${headlines.map((line) => `<p class="headline">${esc(line)}</p>`).join("")}` +
    `${total ? `<p class="ended">${esc(values)}</p>` : ""}</div>` +
    `<div class="nums">${[["fail", "bad"], ["warn", "odd"], ["pass", ""]].map(([level, tone]) =>
      `<div class="${verdicts[level] ? tone : "zero"}"><b>${count(verdicts[level])}</b><span>${level}</span></div>`).join("")}</div>`;
}

function reportAddress(id) {
  return `#${encodeURIComponent(id)}`;
}

function reportAddressed() {
  const [id, event = null] = location.hash.slice(1).split("/");
  try {
    return { id: decodeURIComponent(id), event: /^e\d+$/.test(event) ? Number(event.slice(1)) : null };
  } catch {
    return { id: "", event: null }; // mistyped
  }
}
