// Findings at their events; those that are errors or warnings have a line through all lanes.
import { SEVERITIES } from "../icons.js";
import { sign, stroke } from "../painting.js";

const INFO = SEVERITIES.indexOf("info");

export const findingsLane = {
  id: "findings",
  name: "Findings",
  height: () => 22,
  note: ({ value }) => (value.findings.length ? "" : "none"),
  pick: ({ flags }) => flags.map(({ i }) => i),
  draw(g, { y, h }, scene) {
    const { axis, facts, colours, height } = scene, middle = y + h / 2;
    for (const { i, severity } of facts.flags) {
      const x = axis.x(facts.E.t[i]), name = SEVERITIES[severity];
      if (x < axis.left - 8 || x > axis.right + 8) continue;
      if (severity < INFO) {
        g.globalAlpha = 0.5;
        stroke(g, colours[name], 1, x, y + h - 4, x, height);
        g.globalAlpha = 1;
      }
      sign(g, scene, name, x, middle, severity === INFO ? 5.5 : 8);
    }
    // A finding about the whole session stands at its end.
    const whole = facts.leading.find(({ finding }) => !finding.places.length);
    if (whole) {
      const { severity } = whole.finding;
      sign(g, scene, severity, Math.min(axis.right + 4, axis.x(facts.value.end_s) + 6), middle, 6);
    }
  },
};
