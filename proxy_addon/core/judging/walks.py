"""Walks along the events of a session, each in its own order, with marks to return to.

A walk holds the state that the rules need of earlier events, and tallies what the rules find. `Track` keeps marks,
which are copies of the walk. If the order of the events turns out to be different, the walk continues from the last
mark before the difference.
"""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from types import MappingProxyType
from typing import NamedTuple, Self, override

from proxy_addon.core.findings import MOST_PLACES, Place, element_of
from proxy_addon.core.judging import net
from proxy_addon.core.protocol import EVENTS
from proxy_addon.core.rules import RULES, Rule, Scope, rules_of
from proxy_addon.core.rules.clocks import Arrivals, Silence
from proxy_addon.core.rules.playback import Life, Playback
from proxy_addon.core.rules.rule import When, Withdrawn
from proxy_addon.core.rules.session_view import SessionEvent

_MARK_EVERY = 64
"""Events between two marks of a walk. Fewer make a late event cheaper, but cost memory."""

_order = attrgetter("order")


class Told(NamedTuple):
    """What is said of one place; sorts by arrival, which is not always the order of a walk."""

    order: tuple[int, int]
    place: Place
    message: str

    @classmethod
    def of(cls, event: SessionEvent, message: str) -> Told:
        """Return what is said of an event."""
        order = event.seq, element_of(event.pointer) or 0
        return cls(order, Place(event.seq, event.pointer or None), message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The places where a rule does not hold.

    Attributes:
        first: The first places, by arrival, as many as the tally keeps.
        count: Number of all places.
        until_seq: Where the extent of the first place ends; None if it has none.
    """

    first: tuple[Told, ...]
    count: int = 1
    until_seq: int | None = None


class Tallied(NamedTuple):
    """What a tally counts: the places of a rule, or the places where its check failed."""

    rule: str
    has_failed: bool = False


class Tally(dict[Tallied, Places]):
    """What a walk over a session has found, by rule."""

    def __init__(
        self, found: Mapping[Tallied, Places] = MappingProxyType({}), *, most_places: int = MOST_PLACES
    ) -> None:
        """Begin with what was found.

        Args:
            most_places: How many places of each rule are kept.
        """
        super().__init__(found)
        self._most_places = most_places

    @override
    def copy(self) -> Tally:
        return Tally(self, most_places=self._most_places)

    def ask(self, rules: Iterable[Rule], event: SessionEvent, *subject: object) -> tuple[Rule, ...]:
        """Run rules for an event and count what they find. A rule that fails is counted, and the others still run.

        Args:
            event: The event whose place is recorded.
            subject: Arguments of the checks.

        Returns:
            The rules that found something for the first time.
        """
        first: tuple[Rule, ...] = ()
        for rule in rules:
            try:
                message = rule.check(*subject)
            except Exception as e:  # noqa: BLE001  # the other rules still run
                self.add_failure(rule, event, e)
                continue
            if message is None:
                continue
            if isinstance(message, Withdrawn):
                self._withdraw(Tallied(rule.id), message.events)
            elif self._add(Tallied(rule.id), event, message):
                first += (rule,)
        return first

    def add_failure(self, rule: Rule, event: SessionEvent, error: Exception) -> None:
        """Count an event at which a rule failed."""
        self._add(Tallied(rule.id, has_failed=True), event, net.message_of_rule(rule, error))

    def reach(self, rule: Rule, event: SessionEvent) -> None:
        """Extend what a rule has found up to an event."""
        key = Tallied(rule.id)
        self[key] = replace(self[key], until_seq=event.seq)

    def _add(self, key: Tallied, event: SessionEvent, message: str) -> bool:
        """Count a place and keep it if it is among the first; return whether it is the very first."""
        before = self.get(key)
        if before is not None and len(before.first) == self._most_places and event.seq > before.first[-1].place.seq:
            self[key] = Places(first=before.first, count=before.count + 1, until_seq=before.until_seq)
            return False
        told = Told.of(event, message)
        has_extent = RULES[key.rule].extent is not None and not key.has_failed
        until_seq = event.seq if has_extent else None
        if before is None:
            self[key] = Places(first=(told,), until_seq=until_seq)
            return True
        first = before.first
        if len(first) < self._most_places or told.order < first[-1].order:
            first = tuple(sorted((*first, told), key=_order))[: self._most_places]
        is_first = first[0] is told
        self[key] = Places(first=first, count=before.count + 1, until_seq=until_seq if is_first else before.until_seq)
        return is_first

    def _withdraw(self, key: Tallied, events: Collection[SessionEvent]) -> None:
        before = self.get(key)
        if before is None:
            return  # the check failed at these places instead of reporting them
        if before.count > len(events):
            places = {(event.seq, event.pointer or None) for event in events}
            first = tuple(told for told in before.first if told.place not in places)
            self[key] = replace(before, count=before.count - len(events), first=first or before.first[-1:])
        else:
            del self[key]

    def weight(self, *, has_holes: bool) -> int:
        """Return its weight when two orders of the events are compared.

        Args:
            has_holes: Whether only what is certain despite holes counts.
        """
        weighing = ((RULES[key.rule], places) for key, places in self.items() if not key.has_failed)
        return sum(
            rule.severity.weight * places.count
            for rule, places in weighing
            if rule.weighs and (rule.despite_holes or not has_holes)
        )


@dataclass(slots=True)
class Walk(ABC):
    """What was found up to an event, and the state that the rules need of earlier events."""

    tally: Tally = field(default_factory=Tally, kw_only=True)

    @abstractmethod
    def take(self, event: SessionEvent) -> None:
        """Apply the rules to the next event, then update the state with it."""

    @abstractmethod
    def copy(self) -> Self:
        """Return an independent copy."""

    def resumed(self, before: Sequence[SessionEvent]) -> Self:
        """Return a walk that continues after these events, from this copy that was kept as a mark."""
        del before
        return self.copy()


class Track[W: Walk]:
    """A walk along a sequence of events, with marks to return to."""

    def __init__(self, walk: W) -> None:
        self.state = walk
        self._events: list[SessionEvent] = []
        self._marks = [walk.copy()]

    def take(self, event: SessionEvent) -> None:
        """Walk to the next event."""
        self.state.take(event)
        self._events.append(event)
        if len(self._events) % _MARK_EVERY == 0:
            self._marks.append(self.state.copy())

    def follow(self, events: Sequence[SessionEvent]) -> None:
        """Walk along another sequence of events, and reuse the marks that are still valid."""
        pairs = enumerate(zip(self._events, events, strict=False))
        same = next((place for place, (was, now) in pairs if was is not now), min(len(self._events), len(events)))
        if same < len(self._events):
            mark = same // _MARK_EVERY
            del self._events[mark * _MARK_EVERY :], self._marks[mark + 1 :]
            self.state = self._marks[mark].resumed(self._events)
        for event in events[len(self._events) :]:
            self.take(event)

    def copy(self) -> Track[W]:
        """Return a copy that can follow a different order from here on."""
        track = copy.copy(self)
        track.state, track._events, track._marks = self.state.copy(), self._events.copy(), self._marks.copy()
        return track


@dataclass(slots=True)
class ArrivalWalk(Walk):
    """The walk in the order of arrival."""

    arrivals: Arrivals

    @override
    def take(self, event: SessionEvent) -> None:
        self.tally.ask(rules_of(Scope.ARRIVAL, self.arrivals.moments(event)), event, self.arrivals, event)
        self.arrivals.advance(event)

    @override
    def copy(self) -> Self:
        # There are as many times as events, so marks do not keep them; `resumed` collects them again.
        return type(self)(replace(self.arrivals, times=set()), tally=self.tally.copy())

    @override
    def resumed(self, before: Sequence[SessionEvent]) -> Self:
        walk = self.copy()
        walk.arrivals.times.update(event.ts_ms for event in before if event.ts_ms is not None)
        return walk


@dataclass(slots=True)
class GapWalk(Walk):
    """The walk in the order of the clock that measures gaps."""

    silence: Silence

    @override
    def take(self, event: SessionEvent) -> None:
        self.tally.ask(rules_of(Scope.GAP, self.silence.moments(event)), event, self.silence, event)
        self.silence.advance(event)

    @override
    def copy(self) -> Self:
        return type(self)(copy.copy(self.silence), tally=self.tally.copy())


@functools.cache
def _rules_for(type: str | None, moments: int) -> tuple[Rule, ...]:
    """Return the rules for an event of a known type, or of an unknown one (None), at these moments."""
    rules = (rule for rule in rules_of(Scope.SESSION, moments) if not rule.on or type in rule.on)
    return tuple(rule for rule in rules if rule.after_end or not moments & When.ENDED)


@dataclass(slots=True)
class PlaybackWalk(Walk):
    """The walk in the order of ``ts``, which follows what the player does."""

    playback: Playback
    reaching: tuple[Rule, ...] = ()
    """Rules whose finding may continue at the next event."""

    @override
    def take(self, event: SessionEvent) -> None:
        playback = self.playback
        moments = playback.moments(event)
        if self.reaching:
            has_ended = playback.life is Life.ENDED
            self.reaching = tuple(rule for rule in self.reaching if not has_ended and self._reaches(rule, event))
        rules = _rules_for(event.type if event.type in EVENTS else None, moments)
        found_first = self.tally.ask(rules, event, playback, event)
        if found_first:
            self.reaching += tuple(rule for rule in found_first if rule.extent is not None)
        playback.advance(event)

    def _reaches(self, rule: Rule, event: SessionEvent) -> bool:
        assert rule.extent is not None
        try:
            goes_on = rule.extent(self.playback, event)
        except Exception as e:  # noqa: BLE001  # its finding is kept
            self.tally.add_failure(rule, event, e)
            return False
        if goes_on:
            self.tally.reach(rule, event)
        return goes_on is not False

    @override
    def copy(self) -> Self:
        return type(self)(copy.copy(self.playback), self.reaching, tally=self.tally.copy())
