"""The strip of a session is what its page draws, whatever its events are and in whatever order they become known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import event, given
from hypothesis import strategies as st

from proxy_addon.core.audits.ordering import ordered
from proxy_addon.core.findings import Severity
from proxy_addon.core.timelines.spans import spans_of
from proxy_addon.core.timelines.strips import MOST_NUMBERS, MOST_STRETCHES, read, strip
from proxy_addon.core.timelines.tracing import Traced, Tracing
from tests.property.test_metrics import sessions

SEVERITIES = st.sampled_from([Severity.ERROR, Severity.WARNING])


@st.composite
def stretches(draw: st.DrawFn) -> list[tuple[int, int, str]]:
    """Return what playback did: stretches one after the other, some of which overlap as if a clock was set back."""
    found: list[tuple[int, int, str]] = []
    at = draw(st.just(0) | st.integers(1, 50))
    names = st.sampled_from(["content", "ad", "stalled", "paused"])
    for length, name, back in draw(
        st.lists(st.tuples(st.integers(1, 5_000), names, st.just(0) | st.integers(0, 9_000)), max_size=80)
    ):
        at = max(0, at - back)
        found.append((at, at + length, name))
        at += length
    return found


def traced(session, order):
    tracing = Tracing()
    for each in order:
        tracing.add(Traced((each.arrived_us, "", each.seq), each.arrived_us, each.type, each.ts_ms, each.playhead_s))
    return tracing


@given(sessions(back_ms=90_000), st.data())
def test_what_is_followed_event_by_event_is_what_is_drawn(session, data):
    by_key = sorted(session, key=lambda each: (each.arrived_us, each.seq))
    # Some come without a time, some in bursts, some after long silences, and some become known after those behind them.
    for place in range(1, len(by_key)):
        how = data.draw(st.sampled_from(["as it is"] * 9 + ["no ts", "no playhead", "still", "burst", "silence"]))
        before, each = by_key[place - 1], by_key[place]
        match how:
            case "no ts":
                each = replace(each, ts_ms=None)
            case "no playhead":
                each = replace(each, playhead_s=None)
            case "still":
                each = replace(each, playhead_s=before.playhead_s)
            case "burst":
                each = replace(each, arrived_us=before.arrived_us)
            case "silence":
                each = replace(each, arrived_us=before.arrived_us + 11 * 60_000_000)
        by_key[place] = replace(each, arrived_us=max(each.arrived_us, before.arrived_us))
    known = by_key.copy()
    for place in data.draw(st.lists(st.integers(0, max(0, len(known) - 2)), max_size=6)):
        known[place : place + 2] = reversed(known[place : place + 2])
    tracing = traced(session, known)
    event(f"behind: {tracing.is_behind}")
    if tracing.is_behind:
        tracing = traced(session, by_key)
        assert not tracing.is_behind
    drawn = spans_of(ordered(by_key), {}).playback
    assert tracing.stretches == [(span.begin_ms, span.end_ms, span.name) for span in drawn]


@given(stretches(), st.dictionaries(st.integers(-5, 200_000), SEVERITIES, max_size=60))
def test_a_strip_has_few_numbers_that_say_what_most_of_each_part_is(playback, ticks):
    end_ms = max([0, *(b for _, b, _ in playback)])
    drawn = strip(playback, ticks, begin_ms=0, end_ms=end_ms)
    assert read(drawn.text) == drawn
    numbers = [each for each in drawn.text.split() if each[1:].isdigit()]
    assert len(numbers) <= MOST_NUMBERS
    bars = drawn.bars
    assert all(0 <= a < b <= end_ms for a, b, _ in bars)
    assert all(b <= c for (_, b, _), (c, _, _) in pairwise(bars))
    if ticks:
        worst = Severity.ERROR if Severity.ERROR in ticks.values() else Severity.WARNING
        assert worst in {severity for _, severity in drawn.ticks}
    # Where there are few stretches, they are all there; otherwise, those that fill a part of the strip.
    forward = all(b <= c for (_, b, _), (c, _, _) in pairwise(playback))
    is_whole = len(playback) < MOST_STRETCHES - 1
    for a, b, name in playback if forward else ():
        if is_whole or b - a > 8 * end_ms / MOST_STRETCHES:
            assert name in {each for c, d, each in bars if c < b and d > a}
