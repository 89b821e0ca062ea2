"""Whether the events of a session contain a sequence of steps, and if not, where it breaks off."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxy_addon.core.scenarios.played import Seen
from proxy_addon.core.scenarios.scenario import Step
from proxy_addon.core.wording import number as written


@dataclass(frozen=True, slots=True)
class Break:
    """Where a sequence breaks off.

    Attributes:
        message: What came instead of which step.
        number: Of the event to look at; None if there is none.
        off: How far a number is from what was expected; infinite if it is not about a number.
    """

    message: str
    number: int | None = None
    off: float = 0


def broken(steps: Sequence[Step], events: Sequence[Seen]) -> Break | None:
    """Return where a sequence breaks off; None if the events contain all of it, perhaps with others between them.

    Each step may be any event that fits: a sequence holds if there is one way to take all its steps.

    Args:
        events: In order.
    """
    reached: list[int | None] = [None]  # places of the step before; None before the first step
    for number, step in enumerate(steps):
        found = [
            place
            for place, event in enumerate(events)
            if event.is_of(step) and any(_fits(step, events, prior, place) for prior in reached)
        ]
        if not found:
            return _break(steps, number, events, reached)
        reached = [*found]
    return None


def _fits(step: Step, events: Sequence[Seen], prior: int | None, place: int) -> bool:
    return (prior is None or prior < place) and next(_lacks(step, events, prior, place), None) is None


def _lacks(step: Step, events: Sequence[Seen], prior: int | None, place: int) -> Iterator[Break]:
    """Yield what is wrong with an event of the right type as the next step."""
    event = events[place]
    lacks = event.lacks(step)
    if lacks is not None:
        yield Break(f"{event}: {lacks}", event.number, math.inf)
    if prior is None:
        return
    before = events[prior]
    passed_s = round(event.at_s - before.at_s, 3)
    if step.after_s is not None and not step.after_s.holds(passed_s):
        told = f"{event} comes {written(passed_s)} s after {before}, expected {step.after_s.said('s')}"
        yield Break(told, event.number, step.after_s.distance(passed_s))
    if step.moved_s is not None:
        if event.playhead_s is None or before.playhead_s is None:
            yield Break(f"{event} or {before} has no playhead", event.number, math.inf)
        else:
            moved_s = round(event.playhead_s - before.playhead_s, 3)
            if not step.moved_s.holds(moved_s):
                told = (
                    f"{event} is at playhead {written(event.playhead_s)}, {written(moved_s)} s from that of {before}, "
                    f"expected {step.moved_s.said('s')}"
                )
                yield Break(told, event.number, step.moved_s.distance(moved_s))
    between = next((each for each in events[prior + 1 : place] if each.type in step.without), None)
    if between is not None:
        yield Break(f"{between} comes between {before} and {event}", between.number, math.inf)


def _break(steps: Sequence[Step], number: int, events: Sequence[Seen], reached: Sequence[int | None]) -> Break:
    """Return what is wrong with the event that comes closest to being the next step."""
    step = steps[number]
    wrong = (
        list(_lacks(step, events, prior, place))
        for prior in reached
        for place in range(0 if prior is None else prior + 1, len(events))
        if events[place].type in step.event
    )
    nearest = min(wrong, key=lambda lacks: (len(lacks), sum(each.off for each in lacks)), default=None)
    if nearest is not None:
        return nearest[0]
    wanted = " or ".join(step.event)
    last = reached[0]
    if last is None:
        return Break(f"there is no {wanted}")
    return Break(f"no {wanted} comes after {events[last]}", events[last].number)
