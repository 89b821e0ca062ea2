// The page of one session as a file.
import { part } from "./embedded.js";
import { mountSession } from "./session.js";

mountSession(document.getElementById("root"), await part("value"), { loadTraffic: () => part("traffic") });
