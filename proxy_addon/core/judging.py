"""Judge bodies, exchanges and whole sessions by the rules.

The same functions serve the recorder, `show`, `check` and files. `judge_body` and `judge_exchange` look at one request;
whole sessions are judged by `core.session_judge`. Source: Media Collection API, body rules.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from proxy_addon.core.events import Body, read_body, read_event
from proxy_addon.core.exchange import Exchange, header
from proxy_addon.core.findings import ACCEPTED, BUILT_IN, Finding, Severity
from proxy_addon.core.policy import DEFAULT, Policy
from proxy_addon.core.protocol import EVENTS
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules import ORDER, RULES, Rule, Scope, rules_of
from proxy_addon.core.rules.playback import session_event
from proxy_addon.core.rules.rule import TOLD, Problem
from proxy_addon.core.rules.views import BodyView, EventView, Vocabulary
from proxy_addon.core.rules.wording import ascii_safe, shown
from proxy_addon.core.session_judge import TRACKING, SessionFacts, SessionJudge, events_of, facts_of, is_batch
from proxy_addon.core.sessions import Session

COLLECTOR = "sessiontape"
"""``Server`` of our own collector, whose word does not count against the tables it was made from."""

_VOCABULARY = Vocabulary()


_EXCHANGE, _BODY, _EVENT = (rules_of(scope) for scope in (Scope.EXCHANGE, Scope.BODY, Scope.EVENT))


@functools.cache
def _rules_for(type: str | None, params: bool, quality: bool, metadata: bool, time: bool) -> tuple[Rule, ...]:
    """Return the rules that have something to look at in an event of a known type with these members."""
    present = {"": True, "params": params, "qoeData": quality, "customMetadata": metadata, "playerTime": time}
    return tuple(rule for rule in _EVENT if present[rule.member] and (not rule.on or type in rule.on))


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
    for id in sorted(told, key=ORDER.__getitem__):
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
