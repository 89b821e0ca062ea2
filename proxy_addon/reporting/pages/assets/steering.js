// How pointers move the lanes: drag, pinch, wheel, double click.

const STILL_PX = 3;

/**
 * Steer an axis by what pointers do in an element.
 *
 * `moved()` is called after the axis shows something else, `hovered(event)` with each move of a pointer that is not held
 * (null when it leaves or begins to drag), `clicked(event)` for a press that did not move.
 */
export function steerLanes(box, axis, { moved, hovered, clicked }) {
  const held = new Map();
  let grip = null;

  const leftOf = () => box.getBoundingClientRect().left;
  const perPixel = () => 1 / (axis.right - axis.left);

  // Remember the view when pointers take hold, and where they are; two pointers hold two moments.
  function take() {
    const [one, two] = held.values();
    grip = one === undefined ? null : {
      ...axis.view, one, two, hasMoved: Boolean(two) || Boolean(grip?.hasMoved),
      times: [one, two].map((x) => x !== undefined && axis.time(x - leftOf())),
    };
  }

  function drag() {
    const [one, two] = held.values(), left = leftOf();
    if (two === undefined) {
      grip.hasMoved ||= Math.abs(one - grip.one) > STILL_PX;
      if (!grip.hasMoved) return;
      const by = (grip.one - one) * perPixel() * (grip.b - grip.a);
      axis.show(grip.a + by, grip.b + by);
    } else if (Math.abs(two - one) > 8) {
      const perSecond = (two - one) / (grip.times[1] - grip.times[0]);
      if (!(perSecond > 0)) return;
      const begin = grip.times[0] - (one - left - axis.left) / perSecond;
      axis.show(begin, begin + (axis.right - axis.left) / perSecond);
    }
    box.classList.add("pan");
    hovered(null);
    moved();
  }

  box.addEventListener("pointerdown", (event) => {
    if (event.button || held.size === 2) return;
    held.set(event.pointerId, event.clientX);
    box.setPointerCapture(event.pointerId);
    take();
  });
  box.addEventListener("pointermove", (event) => {
    if (!held.has(event.pointerId)) {
      hovered(event);
      return;
    }
    held.set(event.pointerId, event.clientX);
    drag();
  });
  const release = (event) => {
    if (!held.delete(event.pointerId)) return;
    const wasStill = event.type === "pointerup" && !held.size && !grip.hasMoved;
    if (held.size) take();
    else {
      grip = null;
      box.classList.remove("pan");
    }
    if (wasStill) clicked(event);
  };
  box.addEventListener("pointerup", release);
  box.addEventListener("pointercancel", release);
  box.addEventListener("pointerleave", () => hovered(null));
  box.addEventListener("dblclick", (event) => {
    axis.zoom(0.4, axis.time(event.clientX - leftOf()));
    moved();
  });
  // The wheel alone zooms only while the lanes have the focus: otherwise the page could not be scrolled across them.
  box.addEventListener("wheel", (event) => {
    const isSideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    if (isSideways) axis.move((event.deltaX || event.deltaY) * perPixel());
    else if (event.ctrlKey || event.metaKey || document.activeElement === box) {
      axis.zoom(Math.exp(event.deltaY * (event.ctrlKey ? 0.004 : 0.0016)), axis.time(event.clientX - leftOf()));
    } else return;
    event.preventDefault();
    moved();
  }, { passive: false });
}
