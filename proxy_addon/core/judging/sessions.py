"""Judge whole sessions, in two orders of their events, with support for events that come late.

`SessionJudge` gets the events of one session as they become known, and returns findings at any time. The cost depends
on how much has changed: each walk leaves marks, and if the order of the events changes, it continues from the last mark
before the change. Source: Media Collection API, session rules, method.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter

from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.findings import CHECKER_FAILED, Finding, Place, element_of
from proxy_addon.core.judging import net
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.walks import ArrivalWalk, GapWalk, PlaybackWalk, Tally, Track
from proxy_addon.core.routes import TRACKING, Operation
from proxy_addon.core.rules import ORDER, RULES, Scope, rules_of
from proxy_addon.core.rules.clocks import Arrivals, Silence
from proxy_addon.core.rules.planned import KNOWN
from proxy_addon.core.rules.playback import Playback
from proxy_addon.core.rules.session_view import SessionEvent, session_event
from proxy_addon.core.sessions import AsOf, FindingCounts, Session

_STANDING, _CLOSING = rules_of(Scope.STANDING), rules_of(Scope.CLOSING)
_seq = attrgetter("seq")


def events_of(exchange: Exchange, seq: int) -> Iterator[SessionEvent]:
    """Yield the events in an exchange, in the form that the session rules need."""
    if exchange.route.operation not in TRACKING or not exchange.request.complete:
        return
    if exchange.outcome is Outcome.REJECTED:
        return  # the upstream never saw it, so it is not part of the reported playback
    if not exchange.request.body_state.is_known:
        return
    reading = exchange.request.reading
    arrived_s = exchange.received_at.timestamp()
    for index, event in enumerate(reading.events):
        pointer = f"/{index}" if reading.is_batch else ""
        sha256 = exchange.request.body_sha256 if event.type == "sessionStart" else None
        yield session_event(event, seq=seq, pointer=pointer, arrived_s=arrived_s, body_sha256=sha256)


def is_batch(exchange: Exchange) -> bool:
    """Whether an exchange delivers downloaded playback. An array that is posted to events is a mistake, not a batch."""
    return exchange.route.operation is not Operation.EVENTS and exchange.request.reading.is_batch


@dataclass(frozen=True, kw_only=True)
class SessionFacts:
    """What is known of a session apart from its events.

    Attributes:
        is_batch: Whether it is downloaded playback, which is exempt from rules about clocks, pings and gaps.
        start_missing: Whether its start was not recorded.
        retry_of: Our id of the first attempt to open the same playback; None if this is the first one.
        opened_beside: Our id of another session that the same device opened for the same content at about the same
            time; None if there is none, or if this session got further events.
        by_arrival: Whether gaps are measured by arrival instead of ``ts``.
        has_clock: Whether the arrival is a time of day that ``ts`` can be compared with.
        has_holes: Whether requests or bodies of it are not known, so that only what is certain despite that is reported.
    """

    is_batch: bool = False
    start_missing: bool = False
    retry_of: str | None = None
    opened_beside: str | None = None
    by_arrival: bool = True
    has_clock: bool = True
    has_holes: bool = False


def facts_of(session: Session, *, is_batch: bool, opened_beside: str | None = None) -> SessionFacts:
    """Return what the rules need to know of a recorded session.

    Args:
        opened_beside: See `storage.sessions.opened_beside`.
    """
    return SessionFacts(
        is_batch=is_batch,
        start_missing=not session.start_seen,
        retry_of=session.retry_of,
        opened_beside=opened_beside,
        has_holes=session.has_holes and not is_batch,  # a batch is there as a whole, or not at all
    )


def as_of(now: datetime, policy: Policy) -> AsOf:
    """Return how a policy reads sessions at a given time."""
    rule = RULES["session-not-closed"]
    severity = policy.severity(rule)
    found = [] if severity is None else [Finding(rule=rule.id, severity=severity, message="")]
    idle_timeout = timedelta(seconds=min(policy.limits.idle_timeout_s, _A_CENTURY_S))
    return AsOf(now=now, idle_timeout=idle_timeout, unclosed=FindingCounts().plus(policy.kept(found)))


def withheld(policy: Policy) -> tuple[str, ...]:
    """Return the ids of the rules that a policy asks for, but that are not applied to a session with holes."""
    known = RULES if policy.plan is None else KNOWN
    rules = (rule for rule in known.values() if not rule.despite_holes)
    return tuple(rule.id for rule in rules if policy.severity(rule) is not None and policy.asks_for(rule))


_A_CENTURY_S = 100 * 365 * 86_400
"""The databases cannot represent times much further back."""


class SessionJudge:
    """Judges one session. You can add events and ask for findings at any time.

    It follows two orders (Source: session rules, method): both sort by ``ts``; events with the same ``ts`` are in the
    order of arrival in one, and in the order that SDKs intend in the other. Both share one walk until they differ.
    """

    def __init__(self, facts: SessionFacts, policy: Policy = DEFAULT) -> None:
        limits = policy.limits
        self.facts = facts
        self._policy = policy
        self._events: list[SessionEvent] = []  # by arrival
        self._times: list[float] = []
        silence = Silence(limits=limits, is_batch=facts.is_batch, by_arrival=facts.by_arrival)
        playback = Playback(
            limits=limits,
            is_batch=facts.is_batch,
            start_missing=facts.start_missing,
            retry_of=facts.retry_of,
            opened_beside=facts.opened_beside,
            by_arrival=facts.by_arrival,
        )
        self._arrivals = self._walk_of_arrivals(None)
        self._gaps = Track(GapWalk(silence, tally=self._tally()))
        self._as_arrived = Track(PlaybackWalk(playback, tally=self._tally()))
        self._as_meant = self._as_arrived
        self._start: SessionEvent | None = None  # comes first in both orders, whatever its ts
        self._late_start_ms: int | None = None  # of a start that was not the first to arrive
        self._latest: float | None = None  # time
        self._last: SessionEvent | None = None  # the last event of that time, in the order that SDKs intend
        self._is_overtaken = False  # an event was added that arrived before earlier ones
        self._is_late = False  # an event has a lower time than an earlier one
        self._is_untidy = False  # an event should precede earlier ones of the same time
        self._failure: str | None = None  # a fault of ours at an event; later events are skipped

    def _tally(self) -> Tally:
        return Tally(most_places=self._policy.most_places)

    def _walk_of_arrivals(self, late_start_ms: int | None) -> Track[ArrivalWalk]:
        facts = self.facts
        return Track(
            ArrivalWalk(
                Arrivals(
                    limits=self._policy.limits,
                    is_batch=facts.is_batch,
                    has_clock=facts.has_clock,
                    start_missing=facts.start_missing,
                    start_ms=late_start_ms,
                ),
                tally=self._tally(),
            )
        )

    def __len__(self) -> int:
        """The number of events."""
        return len(self._events)

    def ts_ms(self, place: Place) -> int | None:
        """Return the ``ts`` of the event at a place; None if there is no such event, or it has none."""
        first = bisect_left(self._events, place.seq, key=_seq)
        number = (element_of(place.pointer) or 1) - 1
        event = next((e for e in self._events[first + number : first + number + 1] if e.seq == place.seq), None)
        return None if event is None else event.ts_ms

    @property
    def is_behind(self) -> bool:
        """Whether asking for findings will repeat part of a walk."""
        return self._is_overtaken or self._is_late or self._is_untidy

    def under(self, facts: SessionFacts) -> SessionJudge:
        """Return a judge of the same events with different facts."""
        judge = SessionJudge(facts, self._policy)
        for event in self._events:
            judge.add(event)
        return judge

    def make_room(self, seq: int) -> None:
        """Make room for an exchange that turned up late: shift the events from this position on by one."""
        place = bisect_left(self._events, seq, key=_seq)
        if place < len(self._events):
            self._events[place:] = [replace(event, seq=event.seq + 1) for event in self._events[place:]]
            self._is_overtaken = True

    def add(self, event: SessionEvent) -> None:
        """Add an event after those of the same and of earlier exchanges. Never fails: a fault becomes a finding."""
        if self._failure is None:
            try:
                self._add(event)
            except Exception as e:  # noqa: BLE001  # what was found so far still counts
                self._failure = net.message_of(f"judging the session at #{event.seq}", e)

    def _add(self, event: SessionEvent) -> None:
        if self._events and event.seq < self._events[-1].seq:
            self._events.insert(bisect_right(self._events, event.seq, key=_seq), event)
            self._is_overtaken = True
        else:
            self._events.append(event)
        if self._is_overtaken:
            return
        if event.type == "sessionStart" and self._start is None:
            if len(self._events) > 1:
                self._is_overtaken = True  # the earlier events must be judged again
                return
            self._start = event
        self._arrivals.take(event)
        if self.facts.by_arrival:
            self._gaps.take(event)
        time = self._time(event, self._arrivals.state.arrivals.highest_ms)
        self._times.append(time)
        if self._is_late:
            return
        if self._latest is not None and time < self._latest:
            self._is_late = True
            return
        self._as_arrived.take(event)
        if not self.facts.by_arrival:
            self._gaps.take(event)
        if time == self._latest and self._last is not None and event.rank < self._last.rank:
            self._is_untidy = True
        elif self._as_meant is not self._as_arrived and not self._is_untidy:
            self._as_meant.take(event)
        self._latest, self._last = time, event

    def _catch_up(self) -> None:
        """Repeat the walks whose order of events has changed."""
        events, by_arrival = self._events, self.facts.by_arrival
        if self._is_overtaken:
            self._start = next((event for event in events if event.type == "sessionStart"), None)
            late_start_ms = None if self._start in (None, events[0]) else self._start.ts_ms
            if late_start_ms != self._late_start_ms:
                self._arrivals, self._late_start_ms = self._walk_of_arrivals(late_start_ms), late_start_ms
            self._arrivals.follow(events)
            if by_arrival:
                self._gaps.follow(events)
            self._times = list(self._times_of(events))
        times = self._times
        in_time = sorted(range(len(events)), key=times.__getitem__)
        if self._is_overtaken or self._is_late:
            sequence = [events[place] for place in in_time]
            self._as_arrived.follow(sequence)
            if not by_arrival:
                self._gaps.follow(sequence)
        meant = sorted(in_time, key=lambda place: (times[place], events[place].rank))
        if meant == in_time:
            self._as_meant = self._as_arrived
        else:
            if self._as_meant is self._as_arrived:
                self._as_meant = self._as_arrived.copy()
            self._as_meant.follow([events[place] for place in meant])
        self._latest, self._last = times[meant[-1]], events[meant[-1]]
        self._is_overtaken = self._is_late = self._is_untidy = False

    def _times_of(self, events: Iterable[SessionEvent]) -> Iterator[float]:
        highest: int | None = None
        for event in events:
            if event.ts_ms is not None:
                highest = event.ts_ms if highest is None else max(highest, event.ts_ms)
            yield self._time(event, highest)

    def _time(self, event: SessionEvent, highest_ms: int | None) -> float:
        """Return the time an event is sorted by; an event without one gets the highest time before it."""
        if event is self._start:
            return float("-inf")  # the back end processes it at once
        return event.ts_ms if event.ts_ms is not None else highest_ms or 0

    def findings(self, *, is_over: bool) -> list[Finding]:
        """Return the findings of the session so far, one per rule, in the order of the rules. Never fails.

        Args:
            is_over: Whether no event will follow.
        """
        failure = self._failure
        try:
            found = self._findings(is_over=is_over)
        except Exception as e:  # noqa: BLE001  # the findings of its requests still count
            found, failure = [], failure or net.message_of("judging the session", e)
        return found if failure is None else [*found, *self._policy.kept([net.finding(failure)])]

    def _findings(self, *, is_over: bool) -> list[Finding]:
        if self.is_behind:
            self._catch_up()
        has_holes = self.facts.has_holes
        walks = self._as_arrived.state, self._as_meant.state
        best = min(walks, key=lambda walk: walk.tally.weight(has_holes=has_holes))
        tally = Tally({**best.tally, **self._arrivals.state.tally, **self._gaps.state.tally})
        if self._events:
            last = self._events[-1]
            tally.ask((*_STANDING, *(_CLOSING if is_over else ())), last, best.playback)
        return self._told(tally)

    def _told(self, tally: Tally) -> list[Finding]:
        findings = []
        for key in sorted(tally, key=lambda key: (ORDER[key.rule], key.has_failed)):
            rule = RULES[key.rule]
            severity = self._policy.severity(rule)
            if severity is None or (key.has_failed and not self._policy.asks_for(rule)):
                continue
            if self.facts.has_holes and not rule.despite_holes:
                continue
            places = tally[key]
            (_, first, message), *others = places.first
            of_session = rule.scope in (Scope.STANDING, Scope.CLOSING)
            findings.append(
                Finding(
                    rule=CHECKER_FAILED if key.has_failed else rule.id,
                    severity=net.SEVERITY if key.has_failed else severity,
                    message=message,
                    seq=None if of_session else first.seq,
                    pointer=None if of_session else first.pointer,
                    count=places.count,
                    others=() if of_session else tuple(each.place for each in others),
                    until_seq=places.until_seq,
                )
            )
        return self._policy.kept(findings)
