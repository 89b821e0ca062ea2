"""What happens in a session, and from when to when: playback, ad breaks, ads, chapters, player states.

These are the spans that `proxy_addon.core.audits` counts, by the device's clock. So a stall, or an ad that reports do not
count, can be seen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from proxy_addon.core.audits.arrivals import Arrival, Start
from proxy_addon.core.audits.ordering import Order
from proxy_addon.core.audits.viewing import viewed
from proxy_addon.core.audits.walking import Ad, Break, Chapter, State, Walk

STALLED = "stalled"
"""The state of content whose playhead does not move; the others are those of `State`."""

Place = tuple[int, str]
"""Where an event is in its session: the ``seq`` of its exchange, and its JSON Pointer in the body."""


class Fate(StrEnum):
    """What became of something that began."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    CUT = "cut"
    """Something else began, or what it was in ended."""
    OPEN = "open"
    """Its end was not reported."""
    IGNORED = "ignored"
    """It is not counted: an ad outside of a break."""


@dataclass(slots=True, kw_only=True)
class Span:
    """Something that lasts.

    Attributes:
        begin_ms: By the device's clock, in Unix milliseconds.
        end_ms: Likewise.
        name: What it is called; of playback, its state.
        began: The event that began it; None for playback.
    """

    begin_ms: int
    end_ms: int
    name: str
    fate: Fate = Fate.COMPLETED
    began: Place | None = None


@dataclass(slots=True)
class Spans:
    """What happens in a session.

    Attributes:
        after: The state of playback after each event that was taken.
        in_break: The events after which an ad break is open, but no ad.
        rank: The place of each event in the order in which they are taken, from 0.
        counted_ms: How much time counts for each state of playback.
        idle: The events that were taken and changed nothing: an ad outside of a break, the end of what was not open.
    """

    playback: list[Span] = field(default_factory=list)
    breaks: list[Span] = field(default_factory=list)
    ads: list[Span] = field(default_factory=list)
    chapters: list[Span] = field(default_factory=list)
    states: list[Span] = field(default_factory=list)
    after: dict[Place, str] = field(default_factory=dict)
    in_break: set[Place] = field(default_factory=set)
    rank: dict[Place, int] = field(default_factory=dict)
    counted_ms: dict[str, int] = field(default_factory=dict)
    idle: set[Place] = field(default_factory=set)


def spans_of(order: Order, names: Mapping[Place, str], times_ms: Mapping[Place, int] | None = None) -> Spans:
    """Return what happens in a session.

    Args:
        names: What ads, breaks and chapters are called, by the events that begin them; others are called by their type.
        times_ms: When events happened whose ``ts`` is wrong, in Unix milliseconds. What counts is their ``ts`` all the same.
    """
    return _Tracing(order, names, times_ms or {}).spans


def place_of(event: Arrival) -> Place:
    """Return where an event is."""
    return event.seq, event.pointer


class _Tracing:
    """Follows a walk, and notes what begins and ends."""

    def __init__(self, order: Order, names: Mapping[Place, str], times_ms: Mapping[Place, int]) -> None:
        self.spans = Spans()
        self._names = names
        self._walk = Walk()
        self._at_ms = next((ms for each in order.taken if (ms := _time(each.event, times_ms)) is not None), 0)
        self._break: tuple[Break, Span] | None = None
        self._ad: tuple[Ad, Span] | None = None
        self._ignored: Span | None = None
        self._chapter: tuple[Chapter, Span] | None = None
        self._active: dict[str, Span] = {}
        edges = [self._at_ms]
        for rank, each in enumerate(order.taken):
            at_ms = _time(each.event, times_ms)
            if at_ms is not None and not each.is_late:
                self._at_ms = at_ms
            edges.append(self._at_ms)
            place = place_of(each.event)
            before = self._walk.ad_break, self._walk.ad, self._walk.chapter
            self._walk.take(each)
            if self._is_idle(each.event, *before):
                self.spans.idle.add(place)
            self._follow(each.event)
            self.spans.rank[place] = rank
            self.spans.after[place] = self._walk.state.value
            if self._walk.ad_break is not None and self._walk.ad is None:
                self.spans.in_break.add(place)
        self._end()
        self._add_playback(order, edges)

    def _is_idle(self, event: Arrival, ad_break: Break | None, ad: Ad | None, chapter: Chapter | None) -> bool:
        """Whether an event has changed nothing, given what was open before it."""
        match event.type:
            case "adStart" | "adBreakComplete":
                return ad_break is None
            case "adComplete" | "adSkip":
                return ad is None
            case "chapterComplete" | "chapterSkip":
                return chapter is None
            case "stateStart":
                return bool(event.started_states) and not any(
                    name.lower() in self._walk.states for name in event.started_states
                )
            case "stateEnd":
                return bool(event.ended_states) and not any(name.lower() in self._active for name in event.ended_states)
        return False

    def _follow(self, event: Arrival) -> None:
        walk = self._walk
        if self._ad is not None and walk.ad is not self._ad[0]:
            self._close(self._ad[1], _fate(event, completed=self._ad[0].is_completed, skip="adSkip"))
            self._ad = None
        if self._break is not None and walk.ad_break is not self._break[0]:
            self._close(self._break[1], Fate.COMPLETED if self._break[0].has_ended else Fate.CUT)
            self._break = None
        if self._chapter is not None and walk.chapter is not self._chapter[0]:
            self._close(self._chapter[1], _fate(event, completed=self._chapter[0].is_completed, skip="chapterSkip"))
            self._chapter = None
        if self._ignored is not None and event.type in {"adComplete", "adSkip", "adStart", "adBreakStart"}:
            self._ignored.end_ms = max(self._ignored.begin_ms, self._at_ms)
            self._ignored = None
        if walk.ad_break is not None and self._break is None:
            self._break = walk.ad_break, self._open(self.spans.breaks, event)
        if walk.ad is not None and self._ad is None:
            self._ad = walk.ad, self._open(self.spans.ads, event)
        elif event.type == "adStart" and walk.ad is None:
            self._ignored = self._open(self.spans.ads, event)
            self._ignored.fate = Fate.IGNORED
        if walk.chapter is not None and self._chapter is None:
            self._chapter = walk.chapter, self._open(self.spans.chapters, event)
        self._follow_states(event)

    def _follow_states(self, event: Arrival) -> None:
        for name in event.ended_states:
            span = self._active.pop(name.lower(), None)
            if span is not None:
                self._close(span, Fate.COMPLETED)
        for name in event.started_states:
            known = self._walk.states.get(name.lower())
            if known is not None and name.lower() not in self._active:
                span = self._active[name.lower()] = self._open(self.spans.states, event)
                span.name = name

    def _open(self, spans: list[Span], event: Arrival) -> Span:
        place = place_of(event)
        name = self._names.get(place) or event.type or ""
        span = Span(begin_ms=self._at_ms, end_ms=self._at_ms, name=name, fate=Fate.OPEN, began=place)
        spans.append(span)
        return span

    def _close(self, span: Span, fate: Fate) -> None:
        span.end_ms, span.fate = max(span.begin_ms, self._at_ms), fate

    def _end(self) -> None:
        pairs = (each for each in (self._ad, self._break, self._chapter) if each is not None)
        for span in (
            *(span for _, span in pairs),
            *self._active.values(),
            *((self._ignored,) if self._ignored else ()),
        ):
            span.end_ms = max(span.begin_ms, self._at_ms)

    def _add_playback(self, order: Order, edges: list[int]) -> None:
        start = self._walk.start or Start()
        stretches = self._walk.stretches
        stalled = viewed(order.taken, stretches, length_s=start.length_s, is_live=start.is_live).stalled
        playback = self.spans.playback
        for number, stretch in enumerate(stretches):
            begin_ms, end_ms = edges[number], edges[number + 1]
            name = STALLED if number in stalled and stretch.state is State.CONTENT else stretch.state.value
            if stretch.ms <= 0:  # so is the one before the first event behind the start, from which the clock runs
                continue
            self.spans.counted_ms[name] = self.spans.counted_ms.get(name, 0) + stretch.ms
            if end_ms <= begin_ms:  # the clock was set back, so that time counts which did not pass
                continue
            if playback and playback[-1].name == name and playback[-1].end_ms == begin_ms:
                playback[-1].end_ms = end_ms
            else:
                playback.append(Span(begin_ms=begin_ms, end_ms=end_ms, name=name))


def _time(event: Arrival, times_ms: Mapping[Place, int]) -> int | None:
    return times_ms.get(place_of(event), event.ts_ms)


def _fate(event: Arrival, *, completed: bool, skip: str) -> Fate:
    if completed:
        return Fate.COMPLETED
    return Fate.SKIPPED if event.type == skip else Fate.CUT
