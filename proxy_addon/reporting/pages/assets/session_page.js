// The page of one session as a file.
import { part } from "./embedded.js";
import { mountSession } from "./session.js";

const asked = /^#e(\d+)$/.exec(location.hash);
mountSession(document.getElementById("root"), await part("value"), {
  loadTraffic: () => part("traffic"),
  number: asked && Number(asked[1]),
});
