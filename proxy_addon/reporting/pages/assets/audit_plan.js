// What sessions do otherwise than the tracking plan says.
import { plainTable } from "./audit_table.js";
import { partOf, sessionLinks } from "./audit_words.js";
import { icon } from "./icons.js";
import { count, cut, esc } from "./words.js";

const LONGEST = 160;
const COLUMNS = [["Rule"], ["Event"], ["Key"], ["The plan says"], ["Sessions", "n"], ["Times", "n"], ["Look at", "look-at"]];

/** Show the deviations in an empty element; `show()` draws those of the group that is chosen. */
export function mountPlan(root, context) {
  const plan = `<bdi>${esc(cut(context.page.audit.plan, LONGEST))}</bdi>`;
  root.innerHTML = `<div class="sech"><h2>Tracking plan</h2><p>What sessions do otherwise than ${plan} says.</p></div><div class="box"></div>`;
  const box = root.lastElementChild;

  function draw() {
    const { group } = context.chosen, severities = new Map(group.findings.map((each) => [each.rule, each.severity]));
    box.innerHTML = group.plan.length
      ? plainTable("Deviations from the plan", COLUMNS, group.plan.map((each) => rowOf(each, severities.get(each.rule), group)), { kind: "stacked" })
      : '<p class="none">All is as planned.</p>';
    const { audit } = context.page, unused = context.chosen.k === null ? audit.plan_unused : [];
    if (unused.length) {
      const names = unused.map((each) => `<bdi>${esc(cut(each, LONGEST))}</bdi>`).join("; ");
      box.insertAdjacentHTML("beforeend", `<p class="odd">No session is in these groups of the plan: ${names}.</p>`);
    }
    if (!group.plan_is_complete) {
      box.insertAdjacentHTML("beforeend", '<p class="odd">Devices make up keys, and not all deviations were kept.</p>');
    }
  }

  function rowOf({ rule, event, section, key, expected, sessions, times, look_at: ids }, severity, group) {
    const where = section ? `<code>${esc(section)}</code>` : "(state)"; // of playback, which rates are about
    const name = key && `<bdi>${esc(cut(key, LONGEST))}</bdi> ${where}`;
    const said = `<bdi>${esc(cut(expected, LONGEST))}</bdi>`, links = sessionLinks(ids, context);
    const head = `${severity ? icon(severity) : ""} <code>${esc(rule)}</code>`;
    return { cells: [head, event && `<code>${esc(event)}</code>`, name, said, partOf(sessions, group.sessions), count(times), links] };
  }

  return { show: draw };
}
