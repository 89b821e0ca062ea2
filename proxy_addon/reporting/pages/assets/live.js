// Updates from the server that made the page.

const FIRST_MS = 500, LONGEST_MS = 15_000;

/**
 * Follow a stream of events.
 *
 * `address()` returns its address. `on` has a function for each kind of event, called with its value. The stream is opened
 * again whenever it breaks, and each begins with the whole state, so nothing is missed. `onState` is called with "live" or
 * "lost".
 *
 * Returns `again()`, which reopens the stream, and `end()`.
 */
export function follow(address, on, onState) {
  let source = null, timer = 0, pause = FIRST_MS, ended = false;

  function open() {
    close();
    if (ended || document.hidden) return;
    source = new EventSource(address());
    source.addEventListener("open", () => {
      pause = FIRST_MS;
      onState("live");
    });
    // By itself, a browser gives up for good once a connection is refused.
    source.addEventListener("error", () => {
      close();
      onState("lost");
      timer = setTimeout(open, pause);
      pause = Math.min(2 * pause, LONGEST_MS);
    });
    for (const [name, hear] of Object.entries(on)) source.addEventListener(name, (event) => hear(JSON.parse(event.data)));
  }

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  // A browser opens at most six connections to a server: hidden pages give theirs back.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
  return {
    again: open,
    end() {
      ended = true;
      close();
    },
  };
}

/** A line at the foot of the page that says why it is not updated; hidden while all is well. */
export function troubleLine() {
  const line = document.createElement("p"), trouble = { gone: "", lost: "", store: "" };
  line.className = "trouble";
  line.setAttribute("role", "status");
  line.hidden = true;
  document.body.append(line);

  function say(what, text) {
    trouble[what] = text || "";
    line.textContent = trouble.gone || trouble.lost || trouble.store;
    line.hidden = !line.textContent;
  }

  return {
    onState: (state) => say("lost", state === "live" ? "" : "The server does not answer; trying again."),
    onStore: ({ trouble: why }) => say("store", why && `The store cannot be read (trying again): ${why}`),
    onGone: (text) => say("gone", text),
  };
}
