"""Changes with one cause are one thing to look at, and what only happened at the same time is another one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from proxy_addon.core.audits.causes import with_causes
from proxy_addon.core.audits.changes import Compared, Side
from proxy_addon.core.audits.totals import SUMMED
from proxy_addon.core.protocol import EVENTS
from proxy_addon.core.rules.planned import KNOWN

_SIDE = Side(sessions=0, of=0, share=0.0)


def change(line: str) -> Compared:
    """Return a change: how, what, and its place as in an audit, with ``-`` for what is empty."""
    turn, what, event, section, name, *detail = ["" if word == "-" else word for word in line.split()]
    return Compared(
        what=what,
        event=event,
        section=section,
        name=name,
        detail=" ".join(detail),
        before=_SIDE,
        after=_SIDE,
        test="fisher",
        p=0.0,
        change=turn,
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # One key on several events, and what the rules and the plan say of it.
        (
            [
                "appeared finding - - plan-missing",
                "vanished key sessionStart params media.channel",
                "vanished type ping params media.channel string",
                "appeared plan sessionStart params media.channel plan-missing: required",
                "appeared finding - - param-missing",
            ],
            {1: [0, 2, 3, 4]},
        ),
        # Another key is another thing; a key that nobody requires is missing nowhere, and one that came is not missing.
        (
            [
                "vanished key play customMetadata tier",
                "appeared key play customMetadata Tier",
                "more finding - - param-missing",
            ],
            {0: [], 1: [], 2: []},
        ),
        (["more key sessionStart params media.channel", "more finding - - param-missing"], {0: [], 1: []}),
        (["appeared key play params made.up", "appeared finding - - param-unknown"], {0: [1]}),
        (["appeared key play params media.name", "appeared finding - - param-unknown"], {0: [], 1: []}),
        (["appeared key play params media.name", "appeared finding - - param-not-on-event"], {0: [1]}),
        (["less key ping qoeData made.up", "less finding - - qoe-key-unknown"], {0: [1]}),
        (["more type play params media.name number", "more finding - - param-type"], {0: [1]}),
        (["more type play customMetadata tier number", "more finding - - param-type"], {0: [], 1: []}),
        # Causes have causes of their own, and come where the gravest of what they cause would.
        (
            [
                "appeared finding - - ad-break-not-closed",
                "vanished event adStart - -",
                "vanished metric - - ad_starts",
                "vanished event adBreakStart - -",
                "higher event-number adComplete - -",
            ],
            {0: [], 3: [1, 2], 4: []},
        ),
        (
            ["lower rhythm - - ping_gaps_ms.content", "higher event-number ping - -", "less finding - - ping-gap"],
            {0: [1, 2]},
        ),
        (["lower rhythm - - ping_gaps_ms.content", "lower event-number ping - -"], {0: [], 1: []}),
        (["appeared loss - - no-end", "higher metric - - seconds_since_last_call_s"], {0: [1]}),
        (["appeared plan play - - plan-occurs: once", "more event play - -"], {0: [1]}),
        (["appeared plan ping - content plan-rate: every 10 s", "more event ping - -"], {0: [], 1: []}),
        (
            [
                "appeared finding - - plan-unexpected",
                "appeared event error - -",
                "appeared plan error - - plan-unexpected: an event of the plan",
                "appeared metric - - error_impacted_streams",
                "appeared metric - - error_events",
            ],
            {1: [0, 2, 3, 4]},
        ),
        # Media time is that of content and of ads: it follows from what goes the same way.
        (
            ["less event adStart - -", "lower metric - - media_time_spent_s", "lower metric - - ad_time_spent_s"],
            {0: [1, 2]},
        ),
        (
            ["less event adStart - -", "higher metric - - media_time_spent_s", "lower metric - - ad_time_spent_s"],
            {0: [2], 1: []},
        ),
        (
            [
                "lower metric - - content_time_spent_s",
                "lower metric - - media_time_spent_s",
                "lower metric - - average_minute_audience",
            ],
            {0: [1, 2]},
        ),
    ],
)
def test_what_follows_is_beneath_its_cause(lines, expected):
    changes = [change(line) for line in lines]
    found = with_causes(changes)
    assert found == tuple(
        replace(changes[place], beneath=tuple(changes[each] for each in beneath)) for place, beneath in expected.items()
    )


def following() -> Iterator[tuple[str, str]]:
    """Yield changes, each with one that follows from it: what events, rules and metrics are called says so."""
    for event in EVENTS.keys() - {"sessionStart"}:
        begun = event.removesuffix("Start").removesuffix("Complete")
        in_rules = re.sub("([A-Z])", r"-\1", begun).lower()
        gone = f"vanished event {event} - -"
        if event.endswith("Start"):
            ends = {f"{begun}{how}" for how in ("Complete", "Skip", "End")} & {*EVENTS}
            yield from ((gone, f"vanished event {end} - -") for end in ends)
            rules = {f"{in_rules}-close-without-start", f"{in_rules}-complete-without-start"} & {*KNOWN}
        else:
            rules = {f"{in_rules}-not-closed", f"{in_rules}-open-at-end"} & {*KNOWN}
        yield from ((gone, f"appeared finding - - {rule}") for rule in rules)
        counts = {"bitrateChange": "bitrate_", "error": "error_", "sessionComplete": "content_completes"}
        if event.endswith("Start") or event in counts:
            named = tuple(name for name in SUMMED if name.startswith(counts.get(event, f"{begun}_")))
            yield from ((gone, f"lower metric - - {name}") for name in named)
    for rule in ("ping-gap", "ping-gap-long", "ping-cadence"):
        yield "vanished event ping - -", f"appeared finding - - {rule}"
        yield "higher rhythm - - ping_gaps_ms.content", f"appeared finding - - {rule}"
    for cause in ("vanished event sessionEnd - -", "vanished event sessionComplete - -", "appeared loss - - no-end"):
        yield cause, "appeared finding - - session-not-closed"
        yield cause, "higher metric - - seconds_since_last_call_s"
    yield from (
        ("vanished event play - -", "appeared finding - - content-never-played"),
        ("vanished event play - -", "appeared loss - - never-played"),
        ("vanished event stateStart - -", "appeared finding - - state-not-active"),
        ("appeared loss - - never-played", "appeared finding - - content-never-played"),
        ("appeared loss - - retried", "appeared finding - - session-start-retried"),
        ("appeared loss - - opened-twice", "appeared finding - - session-opened-twice"),
        ("appeared loss - - timed-out", "appeared finding - - session-timeout-playhead"),
        ("lower rhythm - - playhead_speed", "vanished metric - - progress_95"),
        ("lower metric - - unique_time_played_s", "vanished metric - - progress_95"),
    )


def test_what_follows_by_its_name_is_beneath_its_cause():
    for lines in following():
        cause, effect = map(change, lines)
        for each in ((cause, effect), (effect, cause)):
            assert [found.beneath for found in with_causes(each)] == [(effect,)], lines
