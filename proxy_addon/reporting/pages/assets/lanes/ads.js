// Ad breaks as outlines, ads in them; what reports do not count is hatched red.
import { hatch } from "../colours.js";
import { seenSpans, write } from "../painting.js";

const LABEL_PX = 74;

export const adsLane = {
  id: "ads",
  name: "Ads",
  height: () => 30,
  note: ({ value: { spans } }) => `${spans.ads.filter((ad) => ad.completed).length} of ${spans.ads.length} completed`,
  isEmpty: ({ value: { spans } }) => !spans.ads.length && !spans.breaks.length,
  bands: ({ value: { spans } }) => [...spans.ads, ...spans.breaks],
  leastWidth: ({ ignored }) => (ignored ? LABEL_PX : 0),
  draw(g, box, scene) {
    const { ads, breaks } = scene.facts.value.spans;
    for (const [span, left, width] of seenSpans(scene.axis, breaks)) drawBreak(g, box, scene, span, left, width);
    for (const [span, left, width] of seenSpans(scene.axis, ads)) {
      if (span.ignored) drawIgnored(g, box, scene, span, left, width);
      else drawAd(g, box, scene, span, left, width);
    }
  },
};

function drawBreak(g, { y, h }, scene, span, left, width) {
  g.strokeStyle = scene.colours.ad;
  g.lineWidth = 1.3;
  g.strokeRect(left + 0.5, y + 0.5, width - 1, h - 1);
  const isFilled = width <= 40 || scene.facts.value.spans.ads.some((ad) => ad.a >= span.a && ad.b <= span.b);
  if (!isFilled) write(g, scene, span.name, left + 5, y + h / 2, "ink", { max: width - 8 });
}

function drawIgnored(g, { y, h }, scene, span, left, width) {
  const { colours, axis } = scene, middle = y + h / 2;
  g.fillStyle = hatch(g, colours, "error");
  g.globalAlpha = 0.35;
  g.fillRect(left, y + 4, width, h - 8);
  g.globalAlpha = 1;
  g.strokeStyle = colours.error;
  g.lineWidth = 1;
  g.setLineDash([3, 2]);
  g.strokeRect(left + 0.5, y + 4.5, width - 1, h - 9);
  g.setLineDash([]);
  if (width > LABEL_PX) {
    write(g, scene, "not counted", left + 6, middle, "error", { weight: 600, max: width - 8, whole: true });
    return;
  }
  const next = scene.facts.value.spans.ads.find((ad) => ad.a > span.a);
  const room = (next ? axis.x(next.a) : axis.right) - left - width - 8;
  write(g, scene, "not counted", left + width + 4, middle, "error", { weight: 600, max: room, whole: true });
}

function drawAd(g, { y, h }, scene, span, left, width) {
  const { colours } = scene, top = y + 4, height = h - 8, isSkipped = span.how === "skipped";
  g.fillStyle = colours.ad;
  g.globalAlpha = span.completed ? 1 : 0.45;
  g.fillRect(left + (width > 3 ? 0.7 : 0), top, Math.max(0.8, width - 1.4), height);
  g.globalAlpha = 1;
  if (isSkipped && width > 6) {
    g.strokeStyle = colours.bg;
    g.lineWidth = 2;
    g.beginPath();
    g.moveTo(left + width - 8, top);
    g.lineTo(left + width, top + height / 2);
    g.lineTo(left + width - 8, top + height);
    g.stroke();
  }
  const name = isSkipped ? `skipped: ${span.name}` : span.name;
  write(g, scene, name, left + 5, y + h / 2, span.completed ? "adink" : "ink", { max: width - 10, size: 11, weight: 500 });
}
