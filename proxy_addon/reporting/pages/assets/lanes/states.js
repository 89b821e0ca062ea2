// Player states, such as full screen or muted, a row each.
import { seenSpans, write } from "../painting.js";

const ROW = 15, MOST = 4;

/** The row of a state; those after the fourth share the last. */
function rowOfState(facts, name) {
  return Math.min(MOST - 1, facts.states.indexOf(name.toLowerCase()));
}

export const statesLane = {
  id: "states",
  name: "States",
  height: ({ states }) => Math.min(MOST, states.length) * ROW + 2,
  note: ({ states }) => (states.length > MOST ? `${states.length} states` : ""),
  isEmpty: ({ states }) => !states.length,
  bands: ({ value }) => value.spans.states,
  isBandAt: (facts, band, fromTop) => Math.floor(fromTop / ROW) === rowOfState(facts, band.name),
  draw(g, { y }, scene) {
    const { axis, colours, facts } = scene;
    for (const [span, left, width] of seenSpans(axis, facts.value.spans.states)) {
      const top = y + rowOfState(facts, span.name) * ROW, height = ROW - 2;
      g.fillStyle = colours.state;
      g.fillRect(left, top, Math.max(width, 2), height);
      g.fillStyle = colours.stateink;
      g.fillRect(left, top, 2, height);
      if (!span.open && width > 4) g.fillRect(left + width - 2, top, 2, height);
      write(g, scene, span.name, left + 6, top + 7, "stateink", { max: width - 10, size: 10.5, weight: 500 });
    }
  },
};
