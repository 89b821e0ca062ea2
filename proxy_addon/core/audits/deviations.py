"""What a session does otherwise than a part of a tracking plan says, exchange by exchange and as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from proxy_addon.core import jsontext
from proxy_addon.core.audits.arrivals import Arrival, arrivals_of
from proxy_addon.core.audits.coverage import Section
from proxy_addon.core.audits.ordering import ordered
from proxy_addon.core.audits.patterns import Work
from proxy_addon.core.audits.plan_parts import (
    ALL,
    UNCHECKED,
    KeyPlan,
    Occurs,
    Part,
    Presence,
    Rate,
    SectionPlan,
    sections_with_more,
)
from proxy_addon.core.audits.rhythm import Gap, ping_gaps
from proxy_addon.core.audits.sketches import LONGEST
from proxy_addon.core.audits.walking import walked
from proxy_addon.core.events import Body
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import MOST_PLACES, UNPLANNED, Deviation, Finding, Place, Severity
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.judging.sessions import is_batch
from proxy_addon.core.protocol import EVENTS
from proxy_addon.core.routes import TRACKING
from proxy_addon.core.rules.planned import (
    PLANNED,
    missing,
    unchecked,
    unexpected,
    wrong_number,
    wrong_rate,
    wrong_type,
    wrong_value,
)
from proxy_addon.core.rules.rule import TOLD
from proxy_addon.core.sessions import Session
from proxy_addon.core.wording import ascii_safe

MOST_UNPLANNED = 1_000
"""How many keys that are not in the plan are told apart in a session; a device that makes up keys has more."""
FORBIDDEN = "forbidden by the plan"
"""What is said of keys and events that the plan names and does not want."""


@dataclass(slots=True, frozen=True)
class _SectionCheck:
    section: str
    required: tuple[str, ...]
    keys: Mapping[str, KeyPlan]
    further_keys: bool


class Checks:
    """A part of a plan, as it is looked up for each event."""

    def __init__(self, part: Part) -> None:
        self.pings = {state: rate for state, rate in part.pings.items() if rate is not None}
        occurs = {type: each for type, each in part.occurs.items() if each is not None}
        self.forbidden = frozenset(type for type, each in occurs.items() if each.most == 0)
        self.occurs = {type: each for type, each in occurs.items() if type not in self.forbidden}
        self.further_events = part.further_events is not False
        self.planned = frozenset(part.events)
        self._part = part
        self._known: dict[str, tuple[_SectionCheck, ...]] = {}

    def of(self, type: str) -> tuple[_SectionCheck, ...]:
        """Return what is checked on events of a type that the protocol knows, or of `ALL`."""
        found = self._known.get(type)
        if found is None:
            found = self._known[type] = tuple(self._made(type))
        return found

    def _made(self, type: str) -> Iterator[_SectionCheck]:
        part = self._part
        is_planned = type in part.events or ALL in part.events
        sections = sections_with_more(part.events.get(ALL, {}), part.events.get(type, {}))
        for section in Section:
            plan = sections.get(section, SectionPlan())
            further = plan.further_keys
            if further is None:
                further = part.further_keys is not False or not is_planned
            if plan.keys or not further:
                required = tuple(name for name, key in plan.keys.items() if key.presence is Presence.REQUIRED)
                yield _SectionCheck(section.value, required, plan.keys, further)


class PlanJudge:
    """Holds one session against a plan.

    Attributes:
        groups: The places of the groups of the plan that hold for the session.
    """

    def __init__(self, checks: Checks, policy: Policy, session: Session | None, groups: tuple[int, ...]) -> None:
        self.groups = groups
        self._checks = checks
        self._policy = policy
        self._has_holes = session is not None and session.has_holes
        self._has_start = session is not None and session.start_seen
        self._on = frozenset(rule.id for rule in PLANNED.values() if policy.severity(rule) and policy.asks_for(rule))
        self._deviations = _Deviations()
        self._arrivals: list[Arrival] = []
        self._is_batch = False
        self._numbers = dict.fromkeys(checks.occurs, 0)

    def take(self, exchange: Exchange, seq: int) -> list[Finding]:
        """Return the findings of the next exchange of the session, in the order of the rules.

        Args:
            seq: Its position in the session, from 1.
        """
        request = exchange.request
        if exchange.route.operation not in TRACKING:
            return []
        if self._checks.pings:
            self._arrivals += arrivals_of(exchange, seq)
        self._is_batch = self._is_batch or is_batch(exchange)
        if not request.complete or not request.body_state.is_known:
            return []
        return self.take_body(request.reading, len(request.body), seq)

    def take_body(self, body: Body, length: int, seq: int | None = None) -> list[Finding]:
        """Return the findings of a body by itself.

        Args:
            length: Its bytes, to which the work that its values may make is in proportion.
            seq: The position of its exchange in the session, from 1; None if it has none.
        """
        found, work = _Findings(self._on, seq, self._deviations), Work(length)
        values = body.value if body.is_batch else (body.value,)
        for index, (event, value) in enumerate(zip(body.events, values, strict=False)):
            if isinstance(value, dict):
                self._take(event.type, value, f"/{index}" if body.is_batch else "", found, work)
        return found.told(self._policy)

    def _take(self, type: str | None, value: dict[str, Any], at: str, found: _Findings, work: Work) -> None:
        checks = self._checks
        if type in self._numbers:
            self._numbers[type] += 1
        if type is None or type not in EVENTS:
            type = ALL
        elif type in checks.forbidden:
            deviation = Deviation("plan-unexpected", type, "", "", FORBIDDEN)
            found.add(deviation, lambda: f"{at}/eventType", lambda: unexpected(type, "", "", is_forbidden=True))
            return
        elif not checks.further_events and type not in checks.planned:
            deviation = Deviation("plan-unexpected", type, "", "", "an event of the plan")
            found.add(deviation, lambda: f"{at}/eventType", lambda: unexpected(type, "", ""))
            return
        for check in checks.of(type):
            section, keys = check.section, check.keys
            members = value.get(section)
            if not isinstance(members, dict):
                members = {}
            for name in check.required:
                if name not in members:
                    _add_missing(found, type, section, name, f"{at}/{section}" if section in value else at)
            for name, member in members.items():
                key = keys.get(name)
                if key is None and check.further_keys:
                    continue
                wrong = _wrong(key, member, work)
                if wrong is not None:
                    _add_wrong(found, Deviation(wrong[0], type, section, name[:LONGEST], wrong[1]), name, member, at)

    def judgement(self, *, is_over: bool) -> tuple[list[Finding], dict[Deviation, int]]:
        """Return the findings of the session as a whole, and how often each deviation occurs in it.

        Call it when all exchanges were taken. At most `MOST_UNPLANNED` keys that are not in the plan are told apart.

        Args:
            is_over: Whether no event will follow, so that one that is missing will not come.
        """
        deviations = _Deviations()
        found = _Findings(self._on, None, deviations)
        is_whole = self._is_batch or not self._has_holes
        if is_whole:
            for type, number in self._numbers.items():
                occurs = self._checks.occurs[type]
                lacks = is_over and self._has_start and number < occurs.least
                if lacks or (occurs.most is not None and number > occurs.most):
                    _add_number(found, type, number, occurs)
        if self._checks.pings and self._arrivals and is_whole:
            order = ordered(self._arrivals, is_batch=self._is_batch)
            for gap in ping_gaps(order.taken, walked(order.taken).stretches):
                rate = self._checks.pings.get(gap.state)
                if rate is not None and not rate.allows(gap.ms):
                    _add_rate(found, gap, rate)
        return found.told(self._policy), {**self._deviations.times, **deviations.times}


def _add_missing(found: _Findings, type: str, section: str, name: str, pointer: str) -> None:
    deviation = Deviation("plan-missing", type, section, name, "required")
    found.add(deviation, lambda: pointer, lambda: missing(type, section, name))


def _add_wrong(found: _Findings, deviation: Deviation, name: str, value: Any, at: str) -> None:
    found.add(
        deviation,
        lambda: f"{at}/{deviation.section}/{jsontext.escaped(name)}",
        lambda: _message(deviation, name, value),
    )


def _wrong(key: KeyPlan | None, value: Any, work: Work) -> tuple[str, str] | None:
    """Return the rule that a member breaks, and what the plan says; None if it is as planned."""
    if key is None:
        return "plan-unexpected", UNPLANNED
    if key.presence is Presence.FORBIDDEN:
        return "plan-unexpected", FORBIDDEN
    if not key.is_type(value):
        return "plan-type", key.types_told
    expected = key.unlike(value, work)
    return None if expected is None else ("plan-value", expected)


def _message(deviation: Deviation, name: str, value: Any) -> str:
    match deviation.rule:
        case "plan-unexpected":
            is_forbidden = deviation.expected == FORBIDDEN
            return unexpected(deviation.event, deviation.section, name, is_forbidden=is_forbidden)
        case "plan-type":
            return wrong_type(name, value, deviation.expected)
        case _ if deviation.expected == UNCHECKED:
            return unchecked(name)
        case _:
            return wrong_value(name, value, deviation.expected)


def _add_rate(found: _Findings, gap: Gap, rate: Rate) -> None:
    deviation = Deviation("plan-rate", "ping", "", gap.state.value, str(rate))
    ping = gap.ping
    found.add(deviation, lambda: ping.pointer, lambda: wrong_rate(gap.ms, gap.state.value, str(rate)), seq=ping.seq)


def _add_number(found: _Findings, type: str, number: int, occurs: Occurs) -> None:
    deviation = Deviation("plan-occurs", type, "", "", str(occurs))
    found.add(deviation, str, lambda: wrong_number(type, number, str(occurs)))


class _Deviations:
    """How often a session does something otherwise than planned; of the keys that are not in the plan, some are left out."""

    def __init__(self) -> None:
        self.times: dict[Deviation, int] = {}
        self._unplanned = 0

    def add(self, deviation: Deviation) -> None:
        times = self.times.get(deviation, 0)
        if not times and deviation.is_unplanned:
            if self._unplanned == MOST_UNPLANNED:
                return
            self._unplanned += 1
        self.times[deviation] = times + 1


@dataclass(slots=True)
class _Found:
    """The places of one deviation in one body, or in a session."""

    message: str
    places: list[Place] = field(default_factory=list)
    count: int = 0


class _Findings:
    """What is found in one body, or in a session as a whole: a finding for each deviation, at most `TOLD` of a rule."""

    def __init__(self, on: frozenset[str], seq: int | None, deviations: _Deviations) -> None:
        """Begin with nothing.

        Args:
            on: The rules that count.
            seq: The position of the exchange in the session; None if it has none.
            deviations: What was found is added to these.
        """
        self._on = on
        self._seq = seq
        self._deviations = deviations
        self._told: dict[str, dict[Deviation, _Found]] = {}
        self._rest: dict[str, int] = {}

    def add(
        self, deviation: Deviation, pointer: Callable[[], str], message: Callable[[], str], *, seq: int | None = None
    ) -> None:
        """Add a place; its pointer and message are only asked for if they are told."""
        rule = deviation.rule
        if rule not in self._on:
            return
        self._deviations.add(deviation)
        told = self._told.setdefault(rule, {})
        known = told.get(deviation)
        if known is None:
            if len(told) == TOLD:
                self._rest[rule] = self._rest.get(rule, 0) + 1
                return
            known = told[deviation] = _Found(message())
        known.count += 1
        if len(known.places) < MOST_PLACES:
            known.places.append(Place(seq or self._seq or 0, ascii_safe(pointer()) or None))

    def told(self, policy: Policy) -> list[Finding]:
        """Return findings in the order of the rules; the count of the last of a rule covers the rest."""
        if not self._told:
            return []
        findings: list[Finding] = []
        for rule in PLANNED.values():
            severity, mine = policy.severity(rule), self._told.get(rule.id)
            if severity is None or mine is None:
                continue
            findings += [_finding(rule.id, severity, each) for each in mine.values()]
            if rest := self._rest.get(rule.id):
                findings[-1] = replace(findings[-1], count=findings[-1].count + rest)
        return policy.kept(findings)


def _finding(rule: str, severity: Severity, found: _Found) -> Finding:
    (seq, pointer), *others = found.places
    return Finding(
        rule=rule,
        severity=severity,
        message=found.message,
        seq=seq or None,
        pointer=pointer,
        count=found.count,
        others=tuple(others),
    )
