"""Find what moved as a whole: events that all come late, or early, by the same time, between others that do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from proxy_addon.core.expectations.matching import LINE, strand
from proxy_addon.core.expectations.tracked import Tracked

_MOST = 60
"""How many events a block has at most, pings aside."""
_LEAST_S = 1.0
"""How far a block has moved at least if only its contents say that it has moved."""
_UNITS: Mapping[str, tuple[str, frozenset[str]]] = {
    "adBreakStart": ("ad break", frozenset({"adBreakComplete"})),
    "adStart": ("ad", frozenset({"adComplete", "adSkip"})),
    "chapterStart": ("chapter", frozenset({"chapterComplete", "chapterSkip"})),
}
"""What begins with an event, and the events that end it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From one event to the next, pings aside; both sessions have both of them.

    Attributes:
        row: Number of the next one's row.
        before: The expected and the actual event that it leads from.
        expected, actual: Those that it leads to.
        tolerance_s: By how much its length may differ; infinite if it does not count.
    """

    row: int
    before: tuple[Tracked, Tracked]
    expected: Tracked
    actual: Tracked
    tolerance_s: float

    @property
    def lengths_s(self) -> tuple[float, float]:
        """How long it is in each session."""
        return self.expected.at_s - self.before[0].at_s, self.actual.at_s - self.before[1].at_s

    @property
    def by_s(self) -> float:
        """How much longer it is than expected."""
        return self.lengths_s[1] - self.lengths_s[0]

    @property
    def counts(self) -> bool:
        """Whether its length counts at all."""
        return self.tolerance_s < inf

    @property
    def is_off(self) -> bool:
        """Whether it is too long or too short."""
        return round(abs(self.by_s), 6) > self.tolerance_s

    @property
    def late_s(self) -> float:
        """How much later the event comes than expected, since the start."""
        return self.actual.at_s - self.expected.at_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Events that moved together.

    Attributes:
        steps: Those that lead to its events.
        back: The one to the first event after it, which is where it was expected.
    """

    steps: Sequence[Step]
    back: Step

    @property
    def first(self) -> Step:
        """The step to its first event."""
        return self.steps[0]

    @property
    def rows(self) -> range:
        """Its rows, with the pings in between and after it."""
        return range(self.first.row, self.back.row)


def unit(events: Sequence[Tracked]) -> str | None:
    """Return what events are together, such as ``ad break``; None if they are no whole."""
    name, ends = _UNITS.get(events[0].type or "", (None, frozenset()))
    found = [place for place, event in enumerate(events) if event.type in ends]
    # What follows the end is the play that goes on.
    return name if len(found) == 1 and found[0] >= len(events) - 2 else None


def blocks(run: Sequence[Step], shifts_s: Mapping[int, float], tolerance_s: float) -> Iterator[Block]:
    """Yield the blocks in consecutive steps.

    Args:
        shifts_s: By row, how far the contents of an event say that it has moved, where they do.
        tolerance_s: By how much the times in a block may differ.
    """
    place = 0
    while place < len(run):
        step = run[place]
        shift_s = shifts_s.get(step.row)
        says_so = shift_s is not None and abs(shift_s - step.by_s) <= _LEAST_S <= abs(step.by_s)
        is_begin = step.is_off or (says_so and step.counts)
        found = _block(run[place : place + _MOST], tolerance_s) if is_begin else None
        if found is not None:
            yield found
            while run[place] is not found.back:
                place += 1
        place += 1


def _block(run: Sequence[Step], tolerance_s: float) -> Block | None:
    """Return the block that begins with a step; None if nothing after it is where it was expected."""
    first = run[0]
    moved_s = first.by_s
    own = strand(first.expected)
    steps = [first]
    back: Step | None = None
    for step in run[1:]:
        off_s = step.late_s - (first.late_s - moved_s)
        has_moved = abs(off_s - moved_s) < abs(off_s)
        is_own = strand(step.expected) == own
        if abs(off_s - moved_s if has_moved else off_s) > tolerance_s or (
            has_moved and back is not None and not is_own
        ):
            break
        if has_moved:  # the others in between do not depend on it
            steps.append(step)
            back = None
        else:
            back = back or step
            if is_own or own != LINE:
                break
    return None if back is None else Block(steps=steps, back=back)
