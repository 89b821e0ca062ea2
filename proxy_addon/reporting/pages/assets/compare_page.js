// The page of a comparison.
import { mountCompare } from "./compare.js";
import { part } from "./embedded.js";

mountCompare(document.getElementById("root"), await part("value"), await part("links") ?? {});
