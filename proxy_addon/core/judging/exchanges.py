"""Judge request bodies and exchanges, each by itself. Source: Media Collection API, body rules."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from proxy_addon.core.events import Body, read_body
from proxy_addon.core.exchange import Exchange, header
from proxy_addon.core.findings import ACCEPTED, BUILT_IN, Finding, Severity
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.protocol import EVENTS
from proxy_addon.core.routes import TRACKING, Operation
from proxy_addon.core.rules import ORDER, RULES, Rule, Scope, rules_of
from proxy_addon.core.rules.body_views import BodyView, EventView, Vocabulary
from proxy_addon.core.rules.rule import TOLD, Problem
from proxy_addon.core.wording import ascii_safe

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
    findings = as_findings(found, policy)
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
    return policy.kept(as_findings(found, policy))


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
    return policy.kept(as_findings(found, policy))


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


def as_findings(found: Iterable[Found], policy: Policy) -> list[Finding]:
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
            findings[-1] = replace(findings[-1], count=rest + 1)
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
