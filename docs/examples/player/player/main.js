// The page: index.html?tracking=URL[&speed=N][&autoplay]

import { programme } from "./programme.js";
import { Tracking } from "./tracking.js";
import { Video } from "./video.js";

const options = new URLSearchParams(location.search);
const [position, state, button] = ["position", "state", "play"].map((id) => document.getElementById(id));

async function play() {
  button.disabled = true;
  const video = new Video(programme, { speed: Number(options.get("speed") ?? 1) });
  const tracking = new Tracking(options.get("tracking") ?? "https://metrics.harbour.example", video);
  position.max = programme.length;
  video.addEventListener("tick", () => (position.value = video.currentTime));
  video.addEventListener("adstart", ({ detail }) => (state.textContent = detail.ad.name));
  video.addEventListener("play", () => (state.textContent = "playing"));
  await video.play();
  await tracking.sent();
  state.textContent = "ended";
}

button.addEventListener("click", play);
state.textContent = "ready";
if (options.has("autoplay")) play();
