"""Changes with one cause are one thing to look at, and what only happened at the same time is another one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_addon.core.audits.causes import with_causes
from proxy_addon.core.audits.changes import Compared, Side

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
        (["less event adStart - -", "lower metric - - media_time_spent_s"], {0: [1]}),
        (["less event adStart - -", "higher metric - - media_time_spent_s"], {0: [], 1: []}),
        (
            [
                "lower metric - - content_time_spent_s",
                "lower metric - - media_time_spent_s",
                "lower metric - - average_minute_audience",
            ],
            {0: [1, 2]},
        ),
        (["higher metric - - media_time_spent_s", "higher metric - - ad_time_spent_s"], {1: [0]}),
    ],
)
def test_what_follows_is_beneath_its_cause(lines, expected):
    changes = [change(line) for line in lines]
    found = with_causes(changes)
    assert found == tuple(
        replace(changes[place], beneath=tuple(changes[each] for each in beneath)) for place, beneath in expected.items()
    )
