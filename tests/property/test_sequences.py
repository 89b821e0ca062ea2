"""A sequence is found exactly if there is a way to take all its steps, and what is told of a break is true of the events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy_addon.core.events import Event, read_body
from proxy_addon.core.scenarios.played import Seen
from proxy_addon.core.scenarios.scenario import Step
from proxy_addon.core.scenarios.sequences import broken
from proxy_addon.core.scenarios.wanted import Bounds, Wanted
from tests.builders import body, event_dict

TYPES = ("ping", "ping", "play")
EXAMPLES = 200
MOST_READ_A_PLACE = 40


def _sent(codec: str) -> Event:
    return read_body(body(event_dict("play", params={"media.codec": codec}))).events[0]


SENT = {codec: _sent(codec) for codec in ("a", "b")}


def _seen(number: int, type: str, at_s: float, playhead_s: float | None, codec: str = "a") -> Seen:
    return Seen(number=number, type=type, at_s=at_s, playhead_s=playhead_s, event=SENT[codec])


def _events(drawn: list[tuple[str, int, int, str]], *, is_sorted: bool) -> list[Seen]:
    ordered = [*drawn[:1], *sorted(drawn[1:], key=lambda each: each[1])] if is_sorted else drawn
    return [
        _seen(number, type, at_s, playhead_s if playhead_s >= 0 else None, codec)
        for number, (type, at_s, playhead_s, codec) in enumerate(ordered, 1)
    ]


_few = st.integers(0, 6)
EVENTS = st.builds(
    _events,
    st.lists(
        st.tuples(st.sampled_from(TYPES), _few, st.integers(-1, 6), st.sampled_from("aaab")), min_size=2, max_size=12
    ),
    is_sorted=st.booleans(),
)
_bounds = st.sampled_from(
    [None]
    + [Bounds(at_least=low) for low in range(-2, 5)]
    + [Bounds(at_most=high) for high in range(-2, 5)]
    + [Bounds(at_least=low, at_most=low + length) for low in range(-2, 5) for length in (0, 1, 2)]
)
_types = st.sampled_from([("ping",), ("ping",), ("play",), ("ping", "play")])
STEPS = st.builds(
    Step,
    event=_types,
    params=st.sampled_from([{}, {}, {"media.codec": Wanted(values=("a",))}]),
    after_s=_bounds,
    moved_s=_bounds,
    without=st.just(()) | _types,
)
FIRST = Step(event=("ping",))


def _fits(step: Step, events: Sequence[Seen], prior: int, place: int) -> bool:
    """Whether an event may follow another as a step, as the documents define it."""
    before, event = events[prior], events[place]
    if any(each.type in step.without for each in events[prior + 1 : place]):
        return False
    if step.after_s is not None and not step.after_s.holds(round(event.at_s - before.at_s, 3)):
        return False
    if step.moved_s is None:
        return True
    if event.playhead_s is None or before.playhead_s is None:
        return False
    return step.moved_s.holds(round(event.playhead_s - before.playhead_s, 3))


def _is_there(steps: Sequence[Step], events: Sequence[Seen], prior: int | None = None) -> bool:
    if not steps:
        return True
    return any(
        events[place].is_of(steps[0])
        and (prior is None or _fits(steps[0], events, prior, place))
        and _is_there(steps[1:], events, place)
        for place in range(0 if prior is None else prior + 1, len(events))
    )


@settings(max_examples=EXAMPLES)
@example(
    [Step(event=("play",), after_s=Bounds(at_least=2), moved_s=Bounds(at_least=2, at_most=2))],
    _events([("ping", 0, 0, "a"), ("ping", 5, 4, "a"), ("play", 9, 0, "a"), ("play", 3, 6, "a")], is_sorted=False),
)
@given(st.lists(STEPS, min_size=1, max_size=2), EVENTS)
def test_a_sequence_breaks_off_exactly_if_there_is_no_way_to_take_its_steps(rest: list[Step], events: list[Seen]):
    steps = [FIRST, *rest]
    found = broken(steps, events)
    assert (found is None) == _is_there(steps, events)
    if found is not None:
        assert found.number is None or f"#{found.number} " in found.message


@settings(max_examples=EXAMPLES)
@given(STEPS, EVENTS)
def test_what_is_told_of_a_break_is_the_first_demand_that_no_pair_meets(step: Step, events: list[Seen]):
    found = broken([FIRST, step], events)
    starts = [place for place, event in enumerate(events) if event.is_of(FIRST)]
    if found is None or not starts:
        return
    of_type = [
        (events[prior], event, [*events[prior + 1 : place]])
        for prior in starts
        for place, event in enumerate(events)
        if prior < place and event.type in step.event
    ]
    right = [pair for pair in of_type if pair[1].lacks(step) is None]
    apart = [pair for pair in right if not any(each.type in step.without for each in pair[2])]
    passed = {round(event.at_s - before.at_s, 3) for before, event, _ in apart}
    after = step.after_s or Bounds()
    if not of_type:
        assert found.message.startswith("no ")
    elif not right:
        assert ", expected " in found.message
        assert " after " not in found.message
    elif not apart:
        assert " comes between " in found.message
    elif not any(after.holds(each) for each in passed):
        nearest = min(after.distance(each) for each in passed)
        assert any(
            f" comes {each:g} s after " in found.message for each in passed if after.distance(each) == nearest
        ), "the pair is told that is nearest in time"
    else:
        assert " is at playhead " in found.message or " has no playhead" in found.message


def test_long_sessions_are_read_a_few_times_an_event():
    class Counted(list[Seen]):
        reads = 0

        def __getitem__(self, place: Any) -> Any:
            self.reads += 1
            return super().__getitem__(place)

    pings = Counted(_seen(number, "ping", number * 10.0, number * 10.0) for number in range(1, 2001))
    ping, barred = Step(event=("ping",)), Step(event=("ping",), without=("ping",), after_s=Bounds(at_least=20))
    late = Step(event=("ping",), after_s=Bounds(at_least=30_000))
    far = Step(
        event=("ping",), after_s=Bounds(at_least=10, at_most=10_000), moved_s=Bounds(at_least=15_000, at_most=16_000)
    )
    for steps, message in (
        ([ping, late], "#2000 ping (5:33:20) comes 19990 s after #1 ping (0:10.0), expected at least 30000 s"),
        ([ping, far], " is at playhead "),
        ([ping, barred], "#2 ping (0:20.0) comes 10 s after #1 ping (0:10.0), expected at least 20 s"),
        ([ping, ping, Step(event=("play",))], "no play comes after #2 ping (0:20.0)"),
    ):
        pings.reads = 0
        found = broken(steps, pings)
        assert found is not None
        assert message in found.message
        assert pings.reads < MOST_READ_A_PLACE * len(pings)
