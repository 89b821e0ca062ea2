"""Judge bodies, exchanges and whole sessions by the rules.

The same functions serve the recorder, `show`, `check` and files. `judge_body` and `judge_exchange` look at one request;
`SessionJudge` takes the events of one session as they arrive and can be asked at any time. Source: Media Collection
API, body rules and session rules.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from proxy_addon.core.events import Body, read_body, read_event
from proxy_addon.core.exchange import Exchange, Outcome, header
from proxy_addon.core.findings import ACCEPTED, BUILT_IN, Finding, Severity
from proxy_addon.core.policy import DEFAULT, Policy
from proxy_addon.core.protocol import EVENTS
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules import RULES, Rule, Scope
from proxy_addon.core.rules.playback import Arrivals, Life, Playback, SessionEvent, Silence, session_event
from proxy_addon.core.rules.rule import TOLD, Problem
from proxy_addon.core.rules.views import BodyView, EventView, Vocabulary
from proxy_addon.core.rules.wording import ascii_safe, shown
from proxy_addon.core.sessions import Session

COLLECTOR = "sessiontape"
"""``Server`` of our own collector, whose word does not count against the tables it was made from."""
PLACES = 5
"""Places of one rule in a session that its finding names."""
TRACKING = frozenset({Operation.SESSIONS, Operation.EVENTS, Operation.DOWNLOADED})

_VOCABULARY = Vocabulary()


def _rules_of(scope: Scope) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES.values() if rule.scope is scope)


_EXCHANGE, _BODY, _EVENT = (_rules_of(scope) for scope in (Scope.EXCHANGE, Scope.BODY, Scope.EVENT))
_ARRIVAL, _GAP = _rules_of(Scope.ARRIVAL), _rules_of(Scope.GAP)
_STANDING, _CLOSING = _rules_of(Scope.STANDING), _rules_of(Scope.CLOSING)


@functools.cache
def _rules_for(type: str | None, params: bool, quality: bool, metadata: bool, time: bool) -> tuple[Rule, ...]:
    """Return the rules that have something to look at in an event of a known type with these members."""
    present = {"": True, "params": params, "qoeData": quality, "customMetadata": metadata, "playerTime": time}
    return tuple(rule for rule in _EVENT if present[rule.member] and (not rule.on or type in rule.on))


_ORDER = {id: place for place, id in enumerate(RULES)}


def judge_exchange(exchange: Exchange, policy: Policy = DEFAULT, vocabulary: Vocabulary = _VOCABULARY) -> list[Finding]:
    """Return what is to be said of one exchange by itself, in the order of the rules.

    Findings that follow from a schema or a type are lowered to info where an upstream other than our collector has
    taken the request: then the tables are out of date, and not the request.
    """
    found: Iterable[Found] = (Found(rule, problem) for rule in _EXCHANGE for problem in rule.check(exchange))
    request = exchange.request
    if exchange.route.operation in TRACKING and request.complete:
        encoding = header(request.headers, "content-encoding")
        body = _problems_of_body(request.body, request.reading, exchange.route.operation, vocabulary, encoding)
        found = itertools.chain(found, body)
    findings = _findings(found, policy)
    if exchange.is_accepted and exchange.response is not None:
        if header(exchange.response.headers, "server") != COLLECTOR:
            findings = [_lowered(finding) for finding in findings]
    return policy.kept(findings)


def judge_body(
    raw: bytes,
    endpoint: Operation,
    policy: Policy = DEFAULT,
    vocabulary: Vocabulary = _VOCABULARY,
    *,
    reading: Body | None = None,
    encoding: str | None = None,
) -> list[Finding]:
    """Return what the body rules say of a body posted to an endpoint, in the order of the rules.

    Args:
        reading: The body, where it was decoded already.
    """
    found = _problems_of_body(raw, reading or read_body(raw), endpoint, vocabulary, encoding)
    return policy.kept(_findings(found, policy))


def refusal(findings: Iterable[Finding]) -> str | None:
    """Return what is said to one whose request is refused: the first error and where it is; None for a valid one."""
    for finding in findings:
        if finding.severity is Severity.ERROR:
            where = f" at {finding.pointer}" if finding.pointer else ""
            return f"{finding.message}{where} ({finding.rule})"
    return None


def judge_event(
    value: dict[str, Any], endpoint: Operation, pointer: str, policy: Policy, vocabulary: Vocabulary = _VOCABULARY
) -> list[Finding]:
    """Return what the body rules say of one event that stands somewhere in a document."""
    found = _problems_of_event(EventView(value, vocabulary, endpoint, pointer))
    return policy.kept(_findings(found, policy))


@dataclass(frozen=True, slots=True)
class Found:
    """A problem and the rule that found it."""

    rule: Rule
    problem: Problem
    authority: str = BUILT_IN


def _problems_of_body(
    raw: bytes, reading: Body, endpoint: Operation, vocabulary: Vocabulary, encoding: str | None
) -> Iterator[Found]:
    body = BodyView(raw=raw, reading=reading, endpoint=endpoint, encoding=encoding)
    for rule in _BODY:
        for problem in rule.check(body):
            yield Found(rule, problem)
    value = reading.value
    if isinstance(value, dict) and endpoint is not Operation.DOWNLOADED:
        yield from _problems_of_event(EventView(value, vocabulary, endpoint))
    elif isinstance(value, list) and endpoint is not Operation.EVENTS:
        for index, element in enumerate(value):
            if isinstance(element, dict):
                yield from _problems_of_event(EventView(element, vocabulary, endpoint, f"/{index}", in_batch=True))


def _problems_of_event(event: EventView) -> Iterator[Found]:
    authority = event.expected.authority
    value = event.value
    members = ("params" in value, "qoeData" in value, "customMetadata" in value, "playerTime" in value)
    for rule in _rules_for(event.type if event.type in EVENTS else None, *members):
        for problem in rule.check(event):
            yield Found(rule, problem, authority if rule.from_schema else BUILT_IN)


def _findings(found: Iterable[Found], policy: Policy) -> list[Finding]:
    """Return findings in the order of the rules; of very many of one rule the first ones, the last of them for the rest.

    What is not told is counted and not kept: a body may break a rule as often as it has bytes.
    """
    told: dict[str, list[Found]] = {}
    counts: dict[str, int] = {}
    for each in found:
        id = each.rule.id
        counts[id] = counts.get(id, 0) + 1
        if counts[id] <= TOLD:
            told.setdefault(id, []).append(each)
    findings: list[Finding] = []
    for id in sorted(told, key=_ORDER.__getitem__):
        severity = policy.severity(RULES[id])
        if severity is None:
            continue
        findings += [_told(each, severity) for each in told[id]]
        if (rest := counts[id] - TOLD) > 0:
            message = f"{findings[-1].message} (and {rest} more)"
            findings[-1] = replace(findings[-1], count=rest + 1, message=message)
    return findings


def _told(found: Found, severity: Severity) -> Finding:
    problem = found.problem
    return Finding(
        rule=found.rule.id,
        severity=severity,
        message=problem.message + (problem.suggest() if problem.suggest is not None else ""),
        # A member's name may be half a pair of surrogates.
        pointer=None if problem.pointer is None else ascii_safe(problem.pointer),
        authority=found.authority,
    )


def _lowered(finding: Finding) -> Finding:
    rule = RULES[finding.rule]
    if finding.severity is not Severity.ERROR or not rule.from_schema:
        return finding
    return replace(finding, severity=Severity.INFO, lowered_by=ACCEPTED)


def session_events(exchanges: Iterable[tuple[int, Exchange]]) -> Iterator[SessionEvent]:
    """Yield the events of a session's exchanges, given with their places in it."""
    for seq, exchange in exchanges:
        yield from events_of(exchange, seq)


def events_of(exchange: Exchange, seq: int) -> Iterator[SessionEvent]:
    """Yield the events an exchange reports, as the rules over sessions need them."""
    if exchange.route.operation not in TRACKING or not exchange.request.complete:
        return
    if exchange.outcome is Outcome.REJECTED:
        return  # upstream never saw it, so that it is no part of the playback that is reported
    reading = exchange.request.reading
    arrived_s = exchange.received_at.timestamp()
    starts = any(event.type == "sessionStart" for event in reading.events)
    sha256 = exchange.request.body_sha256 if starts else None
    for index, event in enumerate(reading.events):
        pointer = f"/{index}" if reading.is_batch else ""
        yield session_event(event, seq=seq, pointer=pointer, arrived_s=arrived_s, body_sha256=sha256)


@dataclass(frozen=True, slots=True)
class _Place:
    seq: int
    pointer: str
    message: str


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a rule did not hold, the first ones, and how often."""

    count: int
    first: tuple[_Place, ...]


class _Tally(dict[str, _Places]):
    """What a pass over a session has found, by rule."""

    def add(self, rule: Rule, event: SessionEvent, message: str) -> None:
        before = self.get(rule.id)
        if before is None:
            self[rule.id] = _Places(1, (_Place(event.seq, event.pointer, message),))
        elif before.count < PLACES:
            first = (*before.first, _Place(event.seq, event.pointer, message))
            self[rule.id] = _Places(before.count + 1, first)
        else:
            self[rule.id] = _Places(before.count + 1, before.first)

    @property
    def weight(self) -> int:
        """What it counts where two orders are compared."""
        return sum(RULES[id].severity.weight * places.count for id, places in self.items() if RULES[id].weighs)


def _dispatch() -> dict[str | None, tuple[Rule, ...]]:
    rules = _rules_of(Scope.SESSION)
    types = {type for rule in rules for type in rule.on}
    table: dict[str | None, tuple[Rule, ...]] = {
        type: tuple(rule for rule in rules if not rule.on or type in rule.on) for type in types
    }
    table[None] = tuple(rule for rule in rules if not rule.on)
    return table


_BY_TYPE = _dispatch()
_ANY_TYPE = _BY_TYPE[None]


@dataclass(slots=True)
class _Pass:
    """One walk over a session in the order of times."""

    playback: Playback
    tally: _Tally = field(default_factory=_Tally)

    def step(self, event: SessionEvent) -> None:
        playback = self.playback
        has_ended = playback.life is Life.ENDED
        for rule in _BY_TYPE.get(event.type, _ANY_TYPE):
            message = None if has_ended and not rule.after_end else rule.check(playback, event)
            if message is not None:
                self.tally.add(rule, event, message)
        playback.advance(event)

    def copy(self) -> _Pass:
        return _Pass(copy.copy(self.playback), _Tally(self.tally))


@dataclass(frozen=True, kw_only=True)
class SessionFacts:
    """What is known of a session beside its events.

    Attributes:
        is_batch: It is a downloaded playback: clocks, pings and gaps say nothing.
        start_missing: Its start was not recorded.
        retry_of: How another attempt to open the same playback is called.
        by_arrival: Time is that of arrival, not the events' own.
        has_clock: Arrival is a time of day, to compare ``ts`` with.
    """

    is_batch: bool = False
    start_missing: bool = False
    retry_of: str | None = None
    by_arrival: bool = True
    has_clock: bool = True


class SessionJudge:
    """Judges one session; events are added as they arrive, and findings can be asked for at any time.

    Two orders are followed side by side (Source: session rules, method): by time with ties as they arrived, and by
    time with ties as SDKs mean them. An event that is later than all before costs the same however long the session
    is; one that comes late has the session walked through again, when findings are next asked for.
    """

    def __init__(self, facts: SessionFacts, policy: Policy = DEFAULT) -> None:
        self.facts = facts
        self._policy = policy
        self._events: list[SessionEvent] = []
        self._times: list[int] = []
        self._arrivals = Arrivals(limits=policy.limits, is_batch=facts.is_batch, has_clock=facts.has_clock)
        self._order_tally = _Tally()
        self._silence = Silence(limits=policy.limits, is_batch=facts.is_batch, by_arrival=facts.by_arrival)
        self._gap_tally = _Tally()
        self._begin()

    def _begin(self) -> None:
        facts, limits = self.facts, self._policy.limits
        playback = Playback(
            limits=limits,
            is_batch=facts.is_batch,
            start_missing=facts.start_missing,
            retry_of=facts.retry_of,
            by_arrival=facts.by_arrival,
        )
        self._as_arrived = _Pass(playback)
        self._as_meant = _Pass(copy.copy(playback))  # without the events of the latest time
        self._tied: list[SessionEvent] = []
        self._latest: int | None = None
        self._orders_differ = False
        if not facts.by_arrival:  # by the events' own times: walked through with them
            self._silence = Silence(limits=limits, is_batch=facts.is_batch, by_arrival=False)
            self._gap_tally = _Tally()
        self._is_stale = False

    def __len__(self) -> int:
        """How many events there are."""
        return len(self._events)

    @property
    def is_stale(self) -> bool:
        """Whether asking for findings will walk through the whole session."""
        return self._is_stale

    def add(self, event: SessionEvent) -> None:
        """Add the event that arrived next."""
        for rule in _ARRIVAL:
            message = rule.check(self._arrivals, event)
            if message is not None:
                self._order_tally.add(rule, event, message)
        self._arrivals.advance(event)
        if self.facts.by_arrival:
            self._listen(event)
        # An event without a time takes that of the latest before it.
        time = event.ts_ms if event.ts_ms is not None else self._arrivals.highest_ms or 0
        self._events.append(event)
        self._times.append(time)
        if self._is_stale:
            return
        if self._latest is not None and time < self._latest:
            self._is_stale = True
            return
        self._walk(event, time)

    def _walk(self, event: SessionEvent, time: int) -> None:
        if not self.facts.by_arrival:
            self._listen(event)
        self._as_arrived.step(event)
        if self._latest is None or time > self._latest:
            _settle(self._as_meant, self._tied)
            self._tied = []
            self._latest = time
        elif self._tied and event.rank < self._tied[-1].rank:
            self._orders_differ = True
        self._tied.append(event)

    def _walk_again(self) -> None:
        self._begin()
        places = sorted(range(len(self._events)), key=self._times.__getitem__)
        for place in places:
            self._walk(self._events[place], self._times[place])

    def _listen(self, event: SessionEvent) -> None:
        for rule in _GAP:
            message = rule.check(self._silence, event)
            if message is not None:
                self._gap_tally.add(rule, event, message)
        self._silence.advance(event)

    def findings(self, *, is_over: bool) -> list[Finding]:
        """Return what is to be said of the session so far, each rule once, in the order of the rules.

        Args:
            is_over: No event will follow.
        """
        if self._is_stale:
            self._walk_again()
        best = self._as_arrived
        if self._orders_differ:
            meant = self._as_meant.copy()
            _settle(meant, self._tied)
            if meant.tally.weight < best.tally.weight:
                best = meant
        tally = _Tally({**best.tally, **self._order_tally, **self._gap_tally})
        if self._events:
            last = self._events[-1]
            for rule in (*_STANDING, *(_CLOSING if is_over else ())):
                message = rule.check(best.playback)
                if message is not None:
                    tally.add(rule, last, message)
        return self._told(tally)

    def _told(self, tally: _Tally) -> list[Finding]:
        findings = []
        for id in sorted(tally, key=_ORDER.__getitem__):
            severity = self._policy.severity(RULES[id])
            if severity is None:
                continue
            places = tally[id]
            first = places.first[0]
            of_session = RULES[id].scope in (Scope.STANDING, Scope.CLOSING)
            findings.append(
                Finding(
                    rule=id,
                    severity=severity,
                    message=first.message if places.count == 1 else f"{first.message} ({_listed(places)})",
                    seq=None if of_session else first.seq,
                    pointer=first.pointer or None if not of_session else None,
                    count=places.count,
                )
            )
        return self._policy.kept(findings)


def _settle(walk: _Pass, tied: list[SessionEvent]) -> None:
    for event in sorted(tied, key=lambda event: event.rank) if len(tied) > 1 else tied:
        walk.step(event)


def _listed(places: _Places) -> str:
    named = ", ".join(f"#{place.seq}{place.pointer}" for place in places.first[1:])
    more = places.count - len(places.first)
    return f"also at {named}" + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said of a session.

    Attributes:
        of_exchanges: Findings of single exchanges, with their ``seq``, by arrival.
        of_session: Findings of the session as a whole.
    """

    of_exchanges: tuple[Finding, ...] = ()
    of_session: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them."""
        return self.of_exchanges + self.of_session


class SessionWatch:
    """Judges a recorded session while its exchanges pass by, each by itself and all of them together."""

    def __init__(
        self, session: Session, now: datetime, policy: Policy = DEFAULT, vocabulary: Vocabulary = _VOCABULARY
    ) -> None:
        self._session = session
        self._now = now
        self._policy = policy
        self._vocabulary = vocabulary
        self._judge: SessionJudge | None = None
        self._found: list[Finding] = []

    def judging(self, exchanges: Iterable[Exchange], *, bodies: bool = True) -> Generator[Exchange]:
        """Yield a session's exchanges, given by arrival, and judge them on the way.

        Args:
            bodies: Whether to judge each by itself too.
        """
        for seq, exchange in enumerate(exchanges, 1):
            if bodies:
                findings = judge_exchange(exchange, self._policy, self._vocabulary)
                self._found += [replace(finding, seq=seq) for finding in findings]
            for event in events_of(exchange, seq):
                if self._judge is None:
                    facts = facts_of(self._session, is_batch=is_batch(exchange))
                    self._judge = SessionJudge(facts, self._policy)
                self._judge.add(event)
            yield exchange

    def verdict(self) -> Verdict:
        """Return what is to be said once all have passed."""
        of_session = self._judge.findings(is_over=self._session.is_over(self._now)) if self._judge else []
        return Verdict(of_exchanges=tuple(self._found), of_session=tuple(of_session))


class FileKind(StrEnum):
    """What a file is: a body for an endpoint, or a whole session."""

    SESSIONS = "sessions"
    EVENTS = "events"
    DOWNLOADED = "downloaded"
    SESSION = "session"


def judge_file(raw: bytes, what: FileKind, policy: Policy = DEFAULT) -> Verdict:
    """Return what is to be said of a file: one request body, or a whole session.

    Args:
        what: A whole session is a list of bodies, or ``{"events": [{"t": seconds, …the body…} …]}``.
    """
    reading = read_body(raw)
    vocabulary = Vocabulary(policy.params)
    if what is not FileKind.SESSION:
        found = judge_body(raw, Operation(what), policy, vocabulary, reading=reading)
        of_session: list[Finding] = []
        if what is FileKind.DOWNLOADED and reading.is_batch:
            judge = SessionJudge(SessionFacts(is_batch=True, by_arrival=False, has_clock=False), policy)
            for index, event in enumerate(reading.events):
                judge.add(session_event(event, seq=index + 1, pointer=f"/{index}"))
            of_session = judge.findings(is_over=True)
        return Verdict(of_exchanges=tuple(found), of_session=tuple(of_session))
    return _judge_list(raw, reading, policy, vocabulary)


def _judge_list(raw: bytes, reading: Body, policy: Policy, vocabulary: Vocabulary) -> Verdict:
    value, base = reading.value, ""
    if isinstance(value, dict) and isinstance(value.get("events"), list):
        value, base = value["events"], "/events"
    view = BodyView(raw=raw, reading=reading, endpoint=Operation.SESSIONS)
    document = [RULES[id] for id in ("body-empty", "body-not-json", "json-duplicate-key")]
    found = policy.kept(_findings([Found(rule, problem) for rule in document for problem in rule.check(view)], policy))
    if not isinstance(value, list):
        if reading.problem is None:
            rule = RULES["body-not-object"]
            message = f"the file holds {shown(value)}; expected a list of events, or an object with one under events"
            found += policy.kept(_findings([Found(rule, Problem(message, ""))], policy))
        return Verdict(of_exchanges=tuple(found))
    if not value:
        empty = Problem("the session has no events; expected sessionStart", base)
        found += policy.kept(_findings([Found(RULES["session-start-first"], empty)], policy))
        return Verdict(of_exchanges=tuple(found))
    times = [_seconds(element.get("t")) if isinstance(element, dict) and base else None for element in value]
    facts = SessionFacts(by_arrival=bool(value) and None not in times, has_clock=False)
    judge = SessionJudge(facts, policy)
    for index, element in enumerate(value):
        seq, pointer = index + 1, f"{base}/{index}"
        if not isinstance(element, dict):
            problem = Problem(f"element {index} is {shown(element)}; expected an object", pointer)
            findings = policy.kept(_findings([Found(RULES["body-not-object"], problem)], policy))
        else:
            body = {name: member for name, member in element.items() if name != "t" or not base}
            event = read_event(body)
            endpoint = Operation.SESSIONS if event.type == "sessionStart" else Operation.EVENTS
            findings = judge_event(body, endpoint, pointer, policy, vocabulary)
            sha256 = hashlib.sha256(repr(body).encode("utf-8", "surrogatepass")).hexdigest()
            judge.add(session_event(event, seq=seq, pointer=pointer, arrived_s=times[index], body_sha256=sha256))
        found += [replace(finding, seq=seq) for finding in findings]
    return Verdict(of_exchanges=tuple(found), of_session=tuple(judge.findings(is_over=True)))


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 10**12:
        return None
    return float(value)


def is_batch(exchange: Exchange) -> bool:
    """Whether an exchange delivers downloaded playback; an array posted to events is a mistake, and no batch."""
    return exchange.route.operation is not Operation.EVENTS and exchange.request.reading.is_batch


def facts_of(session: Session, *, is_batch: bool) -> SessionFacts:
    """Return what the rules need to know of a recorded session."""
    return SessionFacts(is_batch=is_batch, start_missing=not session.start_seen, retry_of=session.retry_of)
