// Chapters; one that was left early, or is still open, ends with a dotted line.
import { seenSpans, stroke, write } from "../painting.js";

export const chaptersLane = {
  id: "chapters",
  name: "Chapters",
  height: () => 20,
  note: ({ value: { spans } }) => `${spans.chapters.filter((each) => each.completed).length} of ${spans.chapters.length} completed`,
  isEmpty: ({ value }) => !value.spans.chapters.length,
  bands: ({ value }) => value.spans.chapters,
  draw(g, { y, h }, scene) {
    const { axis, colours, facts } = scene;
    for (const [span, left, width] of seenSpans(axis, facts.value.spans.chapters)) {
      g.fillStyle = colours.chapter;
      g.fillRect(left, y, Math.max(1, width - 1), h);
      g.fillStyle = colours.chapterink;
      g.fillRect(left, y, 2, h);
      if (!span.completed) stroke(g, colours.chapterink, 1, left + width - 1.5, y, left + width - 1.5, y + h, [2, 2]);
      const fate = span.how === "skipped" ? " (left early)" : span.open ? " (open)" : "";
      write(g, scene, span.name + fate, left + 7, y + h / 2, "chapterink", { max: width - 10, weight: 500 });
    }
  },
};
