"""Walks along the events of a session, each in an order of its own, with marks to go back to.

A walk carries what the rules have to know of the events before, and tallies what they find. `Track` keeps marks of it:
where the sequence turns out to be another, the walk goes on from the last mark before the difference.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self, override

from proxy_addon.core.findings import MOST_PLACES, Place
from proxy_addon.core.rules import RULES, Rule, Scope, rules_of
from proxy_addon.core.rules.clocks import Arrivals, Silence
from proxy_addon.core.rules.playback import Life, Playback
from proxy_addon.core.rules.session_view import SessionEvent

_MARK_EVERY = 64
"""Events from one mark of a walk to the next: what one late event costs at least, against memory."""
_ARRIVAL, _GAP = rules_of(Scope.ARRIVAL), rules_of(Scope.GAP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a rule did not hold.

    Attributes:
        message: What is said of the first place.
        first: The first `MOST_PLACES` of them.
        count: How many there are.
        until_seq: Where that which was found first ends; None where it has no extent.
    """

    message: str
    first: tuple[Place, ...]
    count: int = 1
    until_seq: int | None = None


class Tally(dict[str, Places]):
    """What a walk over a session has found, by rule."""

    def add(self, rule: Rule, event: SessionEvent, message: str) -> None:
        """Count a place; the first `MOST_PLACES` of a rule are kept."""
        place = Place(event.seq, event.pointer or None)
        before = self.get(rule.id)
        if before is None:
            until_seq = None if rule.extent is None else event.seq
            self[rule.id] = Places(message=message, first=(place,), until_seq=until_seq)
        else:
            first = (*before.first, place) if before.count < MOST_PLACES else before.first
            self[rule.id] = replace(before, count=before.count + 1, first=first)

    def reach(self, rule: Rule, event: SessionEvent) -> None:
        """Tell that what a rule has found goes on as far as an event."""
        self[rule.id] = replace(self[rule.id], until_seq=event.seq)

    @property
    def weight(self) -> int:
        """What it counts where two orders are compared."""
        return sum(RULES[id].severity.weight * places.count for id, places in self.items() if RULES[id].weighs)


@dataclass(slots=True)
class Walk(ABC):
    """What has been found up to an event, and what the rules have to know of those before it."""

    tally: Tally = field(default_factory=Tally, kw_only=True)

    @abstractmethod
    def take(self, event: SessionEvent) -> None:
        """Apply the rules to the next event, and take it into account."""

    @abstractmethod
    def copy(self) -> Self:
        """Return a copy that does not change with this one."""

    def resumed(self, before: Sequence[SessionEvent]) -> Self:
        """Return a walk that goes on behind these events, made of what `copy` has kept."""
        del before
        return self.copy()


class Track[W: Walk]:
    """A walk along a sequence of events, with marks to go back to."""

    def __init__(self, walk: W) -> None:
        self.state = walk
        self._events: list[SessionEvent] = []
        self._marks = [walk.copy()]

    def take(self, event: SessionEvent) -> None:
        """Walk on to the next event."""
        self.state.take(event)
        self._events.append(event)
        if len(self._events) % _MARK_EVERY == 0:
            self._marks.append(self.state.copy())

    def follow(self, events: Sequence[SessionEvent]) -> None:
        """Walk along another sequence, as far as possible by what is known already."""
        pairs = enumerate(zip(self._events, events, strict=False))
        same = next((place for place, (was, now) in pairs if was is not now), min(len(self._events), len(events)))
        if same < len(self._events):
            mark = same // _MARK_EVERY
            del self._events[mark * _MARK_EVERY :], self._marks[mark + 1 :]
            self.state = self._marks[mark].resumed(self._events)
        for event in events[len(self._events) :]:
            self.take(event)

    def copy(self) -> Track[W]:
        """Return a copy that can take another way from here."""
        track = copy.copy(self)
        track.state, track._events, track._marks = self.state.copy(), self._events.copy(), self._marks.copy()
        return track


@dataclass(slots=True)
class ArrivalWalk(Walk):
    """By arrival: what clocks say."""

    arrivals: Arrivals

    @override
    def take(self, event: SessionEvent) -> None:
        for rule in _ARRIVAL:
            message = rule.check(self.arrivals, event)
            if message is not None:
                self.tally.add(rule, event, message)
        self.arrivals.advance(event)

    @override
    def copy(self) -> Self:
        # The times are as many as the events: they are gathered anew where the walk is resumed.
        return type(self)(replace(self.arrivals, times=set()), tally=Tally(self.tally))

    @override
    def resumed(self, before: Sequence[SessionEvent]) -> Self:
        walk = self.copy()
        walk.arrivals.times.update(event.ts_ms for event in before if event.ts_ms is not None)
        return walk


@dataclass(slots=True)
class GapWalk(Walk):
    """By the clock that measures silence."""

    silence: Silence

    @override
    def take(self, event: SessionEvent) -> None:
        for rule in _GAP:
            message = rule.check(self.silence, event)
            if message is not None:
                self.tally.add(rule, event, message)
        self.silence.advance(event)

    @override
    def copy(self) -> Self:
        return type(self)(copy.copy(self.silence), tally=Tally(self.tally))


def _by_type() -> dict[str | None, tuple[Rule, ...]]:
    rules = rules_of(Scope.SESSION)
    types = {type for rule in rules for type in rule.on}
    table: dict[str | None, tuple[Rule, ...]] = {
        type: tuple(rule for rule in rules if not rule.on or type in rule.on) for type in types
    }
    table[None] = tuple(rule for rule in rules if not rule.on)
    return table


_BY_TYPE = _by_type()
_ANY_TYPE = _BY_TYPE[None]


@dataclass(slots=True)
class PlaybackWalk(Walk):
    """By time: what the player does."""

    playback: Playback
    reaching: tuple[Rule, ...] = ()
    """Rules whose finding may go on at the next event."""

    @override
    def take(self, event: SessionEvent) -> None:
        playback = self.playback
        has_ended = playback.life is Life.ENDED
        if self.reaching:
            self.reaching = tuple(rule for rule in self.reaching if not has_ended and self._reaches(rule, event))
        for rule in _BY_TYPE.get(event.type, _ANY_TYPE):
            message = None if has_ended and not rule.after_end else rule.check(playback, event)
            if message is not None:
                if rule.extent is not None and rule.id not in self.tally:
                    self.reaching += (rule,)
                self.tally.add(rule, event, message)
        playback.advance(event)

    def _reaches(self, rule: Rule, event: SessionEvent) -> bool:
        assert rule.extent is not None
        goes_on = rule.extent(self.playback, event)
        if goes_on:
            self.tally.reach(rule, event)
        return goes_on is not False

    @override
    def copy(self) -> Self:
        return type(self)(copy.copy(self.playback), self.reaching, tally=Tally(self.tally))
