// The lanes of the timeline, from top to bottom. Each has `id`, `name`, `height(facts)`, `note(facts)`, `draw(g, box,
// scene)`, and may have `isEmpty(facts)` (then it is left out), `pick(facts)` (the events that can be chosen in it) and
// `bands(facts)` (the spans that the pointer names).
import { findingsLane } from "./findings.js";
import { playbackLane } from "./playback.js";
import { adsLane } from "./ads.js";
import { chaptersLane } from "./chapters.js";
import { statesLane } from "./states.js";
import { eventsLane } from "./events.js";
import { pingsLane } from "./pings.js";
import { wayLane } from "./way.js";
import { answersLane } from "./answers.js";
import { playheadLane } from "./playhead.js";
import { liveLane } from "./live.js";
import { clockLane } from "./device_clock.js";

export const LANES = [
  findingsLane, playbackLane, adsLane, chaptersLane, statesLane, eventsLane, pingsLane, wayLane, answersLane,
  playheadLane, liveLane, clockLane,
];
