"""A session as a scenario looks at it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from proxy_addon.core.events import Event
from proxy_addon.core.protocol import rank_of
from proxy_addon.core.scenarios.scenario import Choice, End
from proxy_addon.core.scenarios.wanted import ABSENT
from proxy_addon.core.timelines.pictures import Picture
from proxy_addon.core.wording import number as written
from proxy_addon.core.wording import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An event that the server took, or may have taken.

    Attributes:
        number: By which the page of the session calls it.
        at_s: By the device's clock, since the first event of the session.
        playhead_s: None if it has no usable one.
        event: What it contains.
    """

    number: int
    type: str
    at_s: float
    playhead_s: float | None
    event: Event

    def param(self, key: str) -> Any:
        """Return what was sent under a key in ``params`` or ``qoeData``; `ABSENT` for nothing."""
        values = self.event.quality if key.startswith("media.qoe.") else self.event.params
        return values.get(key, ABSENT)

    def is_of(self, choice: Choice) -> bool:
        """Whether it is one of a choice of events."""
        return self.type in choice.event and self.lacks(choice) is None

    def lacks(self, choice: Choice) -> str | None:
        """Return why it is none of a choice, although it is of the type; None if it is one."""
        for key, wanted in choice.params.items():
            value = self.param(key)
            if not wanted.holds(value):
                is_sent = "was not sent" if value is ABSENT else f"is {shown(value)}"
                return f"{key} {is_sent}, expected {wanted}"
        if choice.playhead_s is not None and not choice.playhead_s.holds(self.playhead_s):
            at = "no playhead" if self.playhead_s is None else f"playhead {written(self.playhead_s)}"
            return f"it has {at}, expected {choice.playhead_s}"
        return None

    def distance(self, choice: Choice) -> float:
        """Return how many seconds of content its playhead is from a choice; infinite if other values are wrong."""
        if choice.playhead_s is None or self.playhead_s is None:
            return math.inf
        if self.lacks(replace(choice, playhead_s=None)) is not None:
            return math.inf
        return choice.playhead_s.distance(self.playhead_s)

    def __str__(self) -> str:
        return f"#{self.number} {self.type} ({clock(self.at_s)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A session as a scenario looks at it.

    Attributes:
        picture: All that is known of it.
        events: By the device's clock; those with equal times as SDKs mean them, closing before opening. What the server
            refused is not among them.
        ended_at_ms: The time of the last of them, in Unix milliseconds; None if there is none.
    """

    picture: Picture
    events: Sequence[Seen]
    ended_at_ms: int | None

    @property
    def start(self) -> Seen | None:
        """Its ``sessionStart``; None if it was not seen."""
        return next((each for each in self.events if each.type == "sessionStart"), None)

    @property
    def begin_ms(self) -> int:
        """The time of its first event."""
        return self.picture.begin_ms

    @property
    def end(self) -> End:
        """How its player ended it."""
        types = {each.type for each in self.events}
        if "sessionComplete" in types:
            return End.COMPLETED
        return End.ENDED if "sessionEnd" in types else End.UNCLOSED

    def metric(self, name: str) -> Any:
        """Return what reports will count, by the id of docs/metrics.md; `ABSENT` for what they will not."""
        value: Any = self.picture.metrics.values
        kind, _, rest = name.partition(".")
        state, _, member = rest.rpartition(".")
        for key in (kind, state, member) if rest else (kind,):
            value = value.get(key) if isinstance(value, Mapping) else None
        return ABSENT if value is None else value


def played(picture: Picture) -> Played:
    """Return a session as a scenario looks at it."""
    events: dict[tuple[int, str], Event] = {}
    for seq, exchange in enumerate(picture.exchanges, 1):
        reading = exchange.request.reading
        for index, event in enumerate(reading.events):
            events[seq, f"/{index}" if reading.is_batch else ""] = event
    marks = [mark for mark in picture.marks if mark.is_taken and mark.place in events]
    in_order = sorted(marks, key=lambda mark: (mark.type != "sessionStart", mark.device_ms, rank_of(mark.type)))
    return Played(
        picture=picture,
        events=[
            Seen(
                number=picture.numbers[mark.place],
                type=mark.type,
                at_s=(mark.device_ms - picture.begin_ms) / 1000,
                playhead_s=mark.playhead_s,
                event=events[mark.place],
            )
            for mark in in_order
        ],
        ended_at_ms=max((mark.device_ms for mark in marks), default=None),
    )


def clock(seconds: float) -> str:
    """Return a time since the beginning of a session.

    >>> clock(0), clock(61.5), clock(3725)
    ('0:00.0', '1:01.5', '1:02:05')
    """
    tenths = round(abs(seconds) * 10)
    sign = "-" if seconds < 0 and tenths else ""
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}:{minutes:02}:{rest // 10:02}"
    return f"{sign}{minutes}:{rest // 10:02}.{rest % 10}"
