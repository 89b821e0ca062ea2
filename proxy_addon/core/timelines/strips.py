"""A session in a strip of 160 pixels: what playback did, and where errors and warnings were found.

A strip has at most `MOST_NUMBERS` numbers, so that it can stand in the row of a session, and a list of many sessions need
not read their events. It is written as text, in which each number is a time in milliseconds from the first event, behind a
letter that says what begins there:

>>> read("c0 p61500 c65000 E48000 =120000").playback
((0, 'content'), (61500, 'paused'), (65000, 'content'))

>>> read("what is this") is None
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from proxy_addon.core.audits.arrivals import has_arrived, microseconds, playhead_of
from proxy_addon.core.audits.walking import State
from proxy_addon.core.audits.watching import MetricsWatch
from proxy_addon.core.events import Event
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Place, Severity, Verdict, element_of
from proxy_addon.core.judging.sessions import is_batch
from proxy_addon.core.routes import TRACKING
from proxy_addon.core.timelines.marks import ODD_IN_BATCH_MS, ODD_MS, Mark, marks_of, placed
from proxy_addon.core.timelines.pictures import Picture
from proxy_addon.core.timelines.spans import STALLED, Spans, spans_of
from proxy_addon.core.timelines.tracing import Stretch, Traced, Tracing

WIDTH = 160
"""Pixels of a strip; what is nearer to each other than one of them cannot be told apart."""
MOST_STRETCHES = 27
MOST_TICKS = 12
MOST_NUMBERS = MOST_STRETCHES + MOST_TICKS + 1
_TROUBLE = {State.BUFFERING.value: 4, STALLED: 4}
"""How many times as long as it lasted a stretch counts where there are too many: it is what people look for."""
_CELLS = (WIDTH, 80, 40, 20, MOST_TICKS)
_GROWN = 1 / 4
"""By which part of its length a strip has to grow before it is drawn again for that alone: its scale changes, and little else."""
_NO_EVENT = (Event(),)

_LETTERS = {
    State.STARTING.value: "s",
    State.CONTENT.value: "c",
    State.AD.value: "a",
    State.PAUSED.value: "p",
    State.BUFFERING.value: "b",
    STALLED: "t",
    State.OVER.value: "o",
    "": "n",
}
_STATES = {letter: name for name, letter in _LETTERS.items()}
_SEVERITIES = {"E": Severity.ERROR, "W": Severity.WARNING}
_TICKS = {severity: letter for letter, severity in _SEVERITIES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """A session in a strip.

    Attributes:
        end_ms: How long it is: to the last event, by the device's clock.
        playback: What playback did: from when on, in milliseconds from the first event, and its state; empty for none.
        ticks: Where something was found: when, and how severe it is; sorted.
    """

    end_ms: int = 0
    playback: tuple[tuple[int, str], ...] = ()
    ticks: tuple[tuple[int, Severity], ...] = ()

    @property
    def text(self) -> str:
        """The strip as it is stored."""
        drawn = [_LETTERS[name] + str(at_ms) for at_ms, name in self.playback]
        drawn += [_TICKS[severity] + str(at_ms) for at_ms, severity in self.ticks]
        drawn.append(f"={self.end_ms}")
        return " ".join(drawn)

    @property
    def bars(self) -> list[tuple[int, int, str]]:
        """What playback did: from, to, and its state."""
        ends = [*(at_ms for at_ms, _ in self.playback[1:]), self.end_ms]
        return [(a, b, name) for (a, name), b in zip(self.playback, ends, strict=bool(self.playback)) if name]


def document(text: str | None) -> dict[str, Any] | None:
    """Return a strip that was stored as JSON: ``end_s``, ``playback`` (``a``, ``b``, ``k``) and ``ticks`` (time, severity)."""
    found = read(text)
    if found is None:
        return None
    return {
        "end_s": found.end_ms / 1000,
        "playback": [{"a": a / 1000, "b": b / 1000, "k": name} for a, b, name in found.bars],
        "ticks": [[at_ms / 1000, severity.value] for at_ms, severity in found.ticks],
    }


def read(text: str | None) -> Strip | None:
    """Return a strip that was stored; None if there is none."""
    if not text:
        return None
    numbers = [(each[0], int(each[1:])) for each in text.split() if each[1:].isdigit()]
    ends = [number for letter, number in numbers if letter == "="]
    if not ends:
        return None
    return Strip(
        end_ms=ends[-1],
        playback=tuple((number, _STATES[letter]) for letter, number in numbers if letter in _STATES),
        ticks=tuple((number, _SEVERITIES[letter]) for letter, number in numbers if letter in _SEVERITIES),
    )


def strip(stretches: Iterable[Stretch], ticks: Mapping[int, Severity], *, begin_ms: int, end_ms: int) -> Strip:
    """Return a session in a strip.

    Args:
        stretches: What playback did, in order.
        ticks: The worst that was found at a time.
        begin_ms: The time of the first event; all times are by the device's clock, in Unix milliseconds.
        end_ms: The time of the last event.
    """
    length_ms = max(0, end_ms - begin_ms)
    bars: list[Stretch] = []
    edge_ms = 0
    for a, b, name in stretches:
        # A clock that was set back makes stretches overlap.
        from_ms, to_ms = max(edge_ms, a - begin_ms), min(b - begin_ms, length_ms)
        if to_ms > from_ms:
            if from_ms > edge_ms:
                bars.append((edge_ms, from_ms, ""))
            bars.append((from_ms, to_ms, name))
            edge_ms = to_ms
    if bars and edge_ms < length_ms:
        bars.append((edge_ms, length_ms, ""))
    return Strip(
        end_ms=length_ms,
        playback=tuple(_beginnings(_fewer(bars, length_ms))),
        ticks=_spread([(min(max(0, at - begin_ms), length_ms), each) for at, each in sorted(ticks.items())], length_ms),
    )


def _fewer(bars: list[Stretch], length_ms: int) -> list[Stretch]:
    """Return bars of some pixels each if there are too many: what lasts longest in them, and trouble before all else."""
    if len(bars) <= MOST_STRETCHES:
        return bars
    for cells in (WIDTH, 80, 40, MOST_STRETCHES):
        lasting: list[dict[str, int]] = [{} for _ in range(cells)]
        for from_ms, to_ms, name in bars:
            for cell in range(from_ms * cells // length_ms, min(cells - 1, to_ms * cells // length_ms) + 1):
                within_ms = min(to_ms * cells, (cell + 1) * length_ms) - max(from_ms * cells, cell * length_ms)
                lasting[cell][name] = lasting[cell].get(name, 0) + within_ms * _TROUBLE.get(name, 1)
        names = [max(each, key=each.__getitem__) for each in lasting]
        edges = [cell for cell in range(cells) if cell == 0 or names[cell] != names[cell - 1]]
        if len(edges) <= MOST_STRETCHES:
            break
    ends = [*edges[1:], cells]
    return [(a * length_ms // cells, b * length_ms // cells, names[a]) for a, b in zip(edges, ends, strict=True)]


def _beginnings(bars: Iterable[Stretch]) -> Iterator[tuple[int, str]]:
    before: str | None = None
    for from_ms, _, name in bars:
        if name != before:
            yield from_ms, name
        before = name


def _spread(ticks: Sequence[tuple[int, Severity]], length_ms: int) -> tuple[tuple[int, Severity], ...]:
    """Return the worst tick of each pixel; if these are too many, of so many pixels that they are few enough."""
    worst: dict[int, tuple[int, Severity]] = {}
    if not ticks:
        return ()
    for cells in _CELLS:
        worst = {}
        for at_ms, severity in ticks:
            cell = min(cells - 1, at_ms * cells // length_ms) if length_ms else 0
            if cell not in worst or severity.weight > worst[cell][1].weight:
                worst[cell] = at_ms, severity
        if len(worst) <= MOST_TICKS:
            break
    return tuple(sorted(worst.values()))


def ticks_of(findings: Iterable[Finding], at_ms: Callable[[Place], int | None]) -> dict[int, Severity]:
    """Return where errors and warnings were found, and the worst of what was found there.

    Args:
        at_ms: Returns the time of the event at a place; None if there is none.
    """
    ticks: dict[int, Severity] = {}
    for finding in findings:
        if finding.severity is not Severity.INFO:
            for place in finding.places:
                at = at_ms(place)
                if at is not None:
                    _tick(ticks, at, finding.severity)
    return ticks


def _tick(ticks: dict[int, Severity], at_ms: int, severity: Severity) -> None:
    if at_ms not in ticks or severity.weight > ticks[at_ms].weight:
        ticks[at_ms] = severity


def strip_of(picture: Picture) -> Strip:
    """Return the strip of a session that is drawn anyway."""
    return _whole(picture.spans, picture.marks, (told.finding for told in picture.findings))


def _whole(spans: Spans, marks: Sequence[Mark], findings: Iterable[Finding]) -> Strip:
    times = {mark.place: mark.device_ms for mark in marks}

    def at_ms(place: Place) -> int | None:
        element = element_of(place.pointer)
        return times.get((place.seq, "" if element is None else f"/{element - 1}"), times.get((place.seq, "/0")))

    begin_ms = marks[0].device_ms if marks else 0
    return strip(
        ((span.begin_ms, span.end_ms, span.name) for span in spans.playback),
        ticks_of(findings, at_ms),
        begin_ms=begin_ms,
        end_ms=max(times.values(), default=begin_ms),
    )


class StripWatch:
    """Draws the strip of a session while all its exchanges stream by."""

    def __init__(self) -> None:
        self._watch = MetricsWatch()
        self._marks: list[Mark] = []
        self._found: list[Finding] = []

    def watching(self, exchanges: Iterable[Exchange], verdicts: Mapping[str, Verdict]) -> Generator[Exchange]:
        """Yield the exchanges, which must come in the order of arrival.

        Args:
            verdicts: Their own findings, by exchange id.
        """
        for seq, exchange in enumerate(self._watch.watching(exchanges), 1):
            self._marks += marks_of(exchange, seq)
            self._found += [replace(finding, seq=seq) for finding in verdicts.get(exchange.id) or ()]
            yield exchange

    def strip(self, of_session: Iterable[Finding]) -> Strip:
        """Return the strip; call it when all exchanges were yielded.

        Args:
            of_session: The findings of the session as a whole.
        """
        marks = placed(self._marks, is_batch=self._watch.is_batch)
        spans = spans_of(self._watch.order(), {}, {mark.place: mark.device_ms for mark in marks if mark.off_ms})
        return _whole(spans, marks, [*self._found, *of_session])


class Drawing:
    """Draws the strip of one session while its exchanges become known, in any order.

    What is too rare to be followed event by event is only noticed: then the session has to be read again, by `StripWatch`.
    """

    def __init__(self) -> None:
        """Begin with a session that has no exchange."""
        self._tracing: Tracing | None = None
        self._is_batch = self._is_mixed = False
        self._ticks: dict[int, Severity] = {}
        self._first: tuple[datetime, str] | None = None
        self._begin_ms = self._end_ms = 0
        self._least_ms, self._most_ms = math.inf, -math.inf  # how far arrivals are behind the device's clock
        self._drawn: tuple[int, int, int] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether the strip cannot be drawn from what was followed.

        Exchanges came so much out of order that `Tracing.is_behind`, or a ``ts`` may be so wrong that `placed` moves it.
        """
        odd_ms = ODD_IN_BATCH_MS if self._is_batch else ODD_MS
        is_odd = self._most_ms - self._least_ms > odd_ms
        return is_odd or self._is_mixed or (self._tracing is not None and self._tracing.is_behind)

    def add(self, exchange: Exchange, findings: Iterable[Finding] | None = ()) -> None:
        """Draw one more exchange.

        Args:
            findings: Its own; None if it was not judged.
        """
        if exchange.route.operation not in TRACKING:
            return
        arrived_us = microseconds(exchange.received_at)
        reading = exchange.request.reading
        events = reading.events or _NO_EVENT
        if self._first is None or exchange.received_at <= self._first[0]:
            self._begin(exchange, arrived_us // 1000 if events[0].ts_ms is None else events[0].ts_ms)
        for event in events:
            device_ms = arrived_us // 1000 if event.ts_ms is None else event.ts_ms
            self._end_ms = max(self._end_ms, device_ms)
            behind_ms = arrived_us // 1000 - device_ms
            if not self._least_ms <= behind_ms <= self._most_ms:
                self._least_ms, self._most_ms = min(self._least_ms, behind_ms), max(self._most_ms, behind_ms)
        if findings:
            self.find(exchange, findings)
        if (reading.events or not exchange.request.body_state.is_known) and has_arrived(exchange):
            self._trace(exchange, events, arrived_us)

    def _begin(self, exchange: Exchange, at_ms: int) -> None:
        key = exchange.received_at, exchange.id
        if self._first is None:
            self._end_ms = at_ms
        if self._first is None or key < self._first:
            self._first, self._begin_ms = key, at_ms

    def find(self, exchange: Exchange, findings: Iterable[Finding]) -> None:
        """Mark what was found in an exchange by itself."""
        events = exchange.request.reading.events or _NO_EVENT
        for finding in findings:
            if finding.severity is not Severity.INFO:
                number = (element_of(finding.pointer) or 1) - 1
                ts_ms = events[number if number < len(events) else 0].ts_ms
                at_ms = microseconds(exchange.received_at) // 1000 if ts_ms is None else ts_ms
                _tick(self._ticks, at_ms, finding.severity)

    def _trace(self, exchange: Exchange, events: Sequence[Event], arrived_us: int) -> None:
        is_downloaded = exchange.request.reading.is_batch and is_batch(exchange)
        tracing = self._tracing
        if tracing is None:
            tracing = self._tracing = Tracing(is_batch=is_downloaded)
            self._is_batch = is_downloaded
        elif is_downloaded is not self._is_batch:
            self._is_mixed = True
        at, id = exchange.received_at, exchange.id
        for number, event in enumerate(events):
            tracing.add(Traced((at, id, number), arrived_us, event.type, event.ts_ms, playhead_of(event)))

    @property
    def has_news(self) -> bool:
        """Whether there are more stretches or ticks than when it was last drawn."""
        return self._drawn is None or self._drawn[:2] != (self._number, len(self._ticks))

    @property
    def has_grown(self) -> bool:
        """Whether it is a good deal longer than when it was last drawn."""
        return self._drawn is None or self.length_ms > self._drawn[2] * (1 + _GROWN)

    @property
    def length_ms(self) -> int:
        """How long it is by now."""
        return self._end_ms - self._begin_ms

    @property
    def _number(self) -> int:
        return 0 if self._tracing is None else len(self._tracing.stretches)

    def strip(self, ticks: Mapping[int, Severity]) -> Strip:
        """Return the strip, unless `is_behind`.

        Args:
            ticks: What was found in the session as a whole: the worst at a time of the device.
        """
        stretches = () if self._tracing is None else self._tracing.stretches
        both = dict(self._ticks)
        for at_ms, severity in ticks.items():
            _tick(both, at_ms, severity)
        return strip(stretches, both, begin_ms=self._begin_ms, end_ms=self._end_ms)

    def is_drawn(self) -> None:
        """Note that it was drawn."""
        self._drawn = self._number, len(self._ticks), self.length_ms
