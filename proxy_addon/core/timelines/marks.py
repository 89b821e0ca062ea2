"""The events of a session as marks on a timeline, refused and unanswered ones included."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from proxy_addon.core.events import Event
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.routes import TRACKING

PING_EVERY_MS, LATE_MS = 10_000, 15_000
"""Pings come every 10 s of content; no single distance below 15 s is late (protocol, section 12.7)."""
ODD_MS, ODD_IN_BATCH_MS = 3_600_000, 7 * 86_400_000
"""A ``ts`` that is so far from what the others of its session say is wrong: no device sends an event an hour late."""
MOST_DUE = 400
"""How many pings that did not come are marked in one silence."""
LONGEST_NAME = 200
"""Characters of a name that are drawn; whole values are in the traffic."""
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_SAYING = (
    "media.ad.name",
    "media.ad.podFriendlyName",
    "media.chapter.friendlyName",
    "media.state.name",
    "media.name",
    "media.ad.id",
)
"""Params that distinguish an event from others of its type, the best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One event.

    Attributes:
        seq: Position of its exchange in the session, from 1.
        pointer: JSON Pointer to it in the body; empty for a body that is an event.
        type: Its type, or a text in parentheses if it has none.
        name: What distinguishes it from others of its type; empty if nothing does.
        device_ms: Its ``ts`` in Unix milliseconds; the time of arrival for one without. See `placed` for a wrong one.
        off_ms: How far its ``ts`` is from that; 0 unless it is wrong.
        arrived_ms: When its request arrived, likewise.
        took_ms: How long the answer took; None without an answer.
        playhead_s: None without a usable one.
        status: Of the answer; None without one.
        outcome: How the exchange ended.
    """

    seq: int
    pointer: str = ""
    type: str
    name: str = ""
    device_ms: int
    off_ms: int = 0
    arrived_ms: float
    took_ms: float | None = None
    playhead_s: float | None = None
    status: int | None = None
    outcome: str = ""

    @property
    def place(self) -> tuple[int, str]:
        """Where it is in its session."""
        return self.seq, self.pointer

    @property
    def is_taken(self) -> bool:
        """Whether upstream took it, or nobody knows."""
        return self.status is None or 200 <= self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A stretch of time without an event in which pings were due.

    Attributes:
        begin_ms: By the device's clock, in Unix milliseconds.
        end_ms: Likewise.
        lasted_ms: By the clock of the recorder.
        due_ms: When pings were due, at most `MOST_DUE`.
        ended: The event that ended it.
    """

    begin_ms: int
    end_ms: int
    lasted_ms: float
    due_ms: tuple[int, ...]
    ended: tuple[int, str]


def marks_of(exchange: Exchange, seq: int) -> Iterator[Mark]:
    """Yield the events in an exchange; one mark stands for a body that cannot be read. Preflights have none."""
    if exchange.route.operation not in TRACKING:
        return
    reading = exchange.request.reading
    arrived_ms = (exchange.received_at - _EPOCH) / _MILLISECOND
    answer = exchange.response
    for index, event in enumerate(reading.events or (Event(),)):
        yield Mark(
            seq=seq,
            pointer=f"/{index}" if reading.is_batch and reading.events else "",
            type=(event.type or "(no event type)")[:LONGEST_NAME] if reading.events else "(not readable)",
            name=name_of(event),
            device_ms=round(arrived_ms) if event.ts_ms is None else event.ts_ms,
            arrived_ms=arrived_ms,
            took_ms=None if answer is None or exchange.duration_us is None else exchange.duration_us / 1000,
            playhead_s=None if event.playhead_s is None else float(event.playhead_s),
            status=None if answer is None else answer.status,
            outcome=exchange.outcome.value,
        )


def placed(marks: Sequence[Mark], *, is_batch: bool) -> list[Mark]:
    """Return marks with those whose ``ts`` is wrong at the time of their arrival, as the clock of the others has it.

    A player that sends seconds for milliseconds once, or sets its clock, would have an axis of decades otherwise. In a
    batch, in which all events arrive at once, they are put where the others are.
    """
    most_ms = ODD_IN_BATCH_MS if is_batch else ODD_MS
    usual_ms = _usual([mark.arrived_ms - mark.device_ms for mark in marks], most_ms)
    found = []
    for mark in marks:
        by_arrival_ms = round(mark.arrived_ms - usual_ms)
        if abs(mark.device_ms - by_arrival_ms) > most_ms:
            found.append(replace(mark, device_ms=by_arrival_ms, off_ms=mark.device_ms - by_arrival_ms))
        else:
            found.append(mark)
    return found


def _usual(behind: Iterable[float], most_ms: int) -> float:
    """Return the median of those distances that most others are near to; of two sets of equal size, of that nearer to 0."""
    distances = sorted(behind)
    best, first = (0, 0.0, 0, 0), 0
    for last, distance in enumerate(distances):
        while distance - distances[first] > most_ms:
            first += 1
        best = max(best, (last - first + 1, -abs(distance), first, last))
    return statistics.median(distances[best[2] : best[3] + 1]) if distances else 0.0


def name_of(event: Event) -> str:
    """Return what tells an event from others of its type; empty if nothing does."""
    for key in _SAYING:
        value = event.params.get(key)
        if isinstance(value, str) and value:
            return value[:LONGEST_NAME]
    for key in ("media.qoe.bitrate",) if event.type == "bitrateChange" else ("media.qoe.errorID",):
        value = event.quality.get(key)
        if value is not None:
            return str(value)[:LONGEST_NAME]
    return ""


def numbers_of(marks: Sequence[Mark]) -> dict[tuple[int, str], int]:
    """Return what people call events by: the position of the request, or of the event in downloaded playback."""
    is_batch = any(mark.pointer for mark in marks)
    return {mark.place: position if is_batch else mark.seq for position, mark in enumerate(marks, 1)}


def silences_of(marks: Iterable[Mark]) -> Iterator[Silence]:
    """Yield the stretches without an event that are longer than `LATE_MS`, by arrival."""
    for before, after in pairwise(sorted(marks, key=lambda mark: mark.arrived_ms)):
        lasted_ms = after.arrived_ms - before.arrived_ms
        if lasted_ms <= LATE_MS or after.device_ms <= before.device_ms:
            continue
        first, last = before.device_ms + PING_EVERY_MS, after.device_ms - PING_EVERY_MS // 2
        due = range(first, min(last, first + MOST_DUE * PING_EVERY_MS), PING_EVERY_MS)
        yield Silence(
            begin_ms=before.device_ms,
            end_ms=after.device_ms,
            lasted_ms=lasted_ms,
            due_ms=tuple(due),
            ended=after.place,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew:
    """How far arrivals are behind the device's clock, in milliseconds.

    Attributes:
        quickest: The tenth percentile, so that of quick events. Arrivals are drawn shifted by it, so that neither a wrong
            clock nor a single step of the clock slants them.
        median: The median of all events.
    """

    quickest: float = 0.0
    median: float = 0.0


def skew_of(marks: Sequence[Mark]) -> Skew:
    """Return how far arrivals are behind the device's clock."""
    behind = sorted(mark.arrived_ms - mark.device_ms for mark in marks)
    if not behind:
        return Skew()
    return Skew(quickest=behind[len(behind) // 10], median=statistics.median(behind))
