"""Judge request bodies and exchanges one at a time. Source: Media Collection API, body rules."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from proxy_addon.core.events import Body, read_body
from proxy_addon.core.exchange import COLLECTOR, Exchange, header
from proxy_addon.core.findings import ACCEPTED, BUILT_IN, Finding, Severity
from proxy_addon.core.judging import net
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.protocol import EVENTS
from proxy_addon.core.routes import TRACKING, Operation
from proxy_addon.core.rules import ORDER, RULES, Rule, Scope, rules_of
from proxy_addon.core.rules.body_views import BodyView, EventView, Vocabulary
from proxy_addon.core.rules.rule import TOLD, Problem, When
from proxy_addon.core.wording import ascii_safe

_VOCABULARY = Vocabulary()
_BODY, _EVENT = rules_of(Scope.BODY), rules_of(Scope.EVENT)


@functools.cache
def _rules_for(type: str | None, params: bool, quality: bool, metadata: bool, time: bool) -> tuple[Rule, ...]:
    """Return the rules that apply to an event of a known type that has these members."""
    present = {"": True, "params": params, "qoeData": quality, "customMetadata": metadata, "playerTime": time}
    return tuple(rule for rule in _EVENT if present[rule.member] and (not rule.on or type in rule.on))


def judge_exchange(exchange: Exchange, policy: Policy = DEFAULT, vocabulary: Vocabulary = _VOCABULARY) -> list[Finding]:
    """Return the findings of one exchange, in the order of the rules. Never fails.

    Errors that rely on a schema or a JSON type are lowered to info if an upstream other than our collector accepted
    the request: then the tables are out of date, and the request is fine.
    """
    try:
        return _judge_exchange(exchange, policy, vocabulary)
    except Exception as e:  # noqa: BLE001  # the session and its other exchanges are still judged
        return policy.kept([net.finding(net.message_of("judging this request", e))])


def _judge_exchange(exchange: Exchange, policy: Policy, vocabulary: Vocabulary) -> list[Finding]:
    request, operation, is_accepted = exchange.request, exchange.route.operation, exchange.is_accepted
    moments = (0 if is_accepted else When.NOT_ACCEPTED) | (When.UNROUTED if operation is Operation.OTHER else 0)
    found: Iterable[Found] = applied(rules_of(Scope.EXCHANGE, moments), exchange)
    if operation in TRACKING and request.complete and request.body_state.is_known:
        is_json = request.reading.problem is None
        encoding = None if is_json else header(request.headers, "content-encoding")
        body = _problems_of_body(request.body, request.reading, operation, vocabulary, encoding)
        found = itertools.chain(found, body)
    findings = as_findings(found, policy)
    if not findings:
        return findings
    if is_accepted and exchange.response is not None:
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
    """Return the findings of the body rules for a body that was posted to an endpoint, in the order of the rules.

    Args:
        reading: The decoded body, if the caller already has it.
    """
    found = _problems_of_body(raw, reading or read_body(raw), endpoint, vocabulary, encoding)
    return policy.kept(as_findings(found, policy))


def refusal(findings: Iterable[Finding]) -> str | None:
    """Return why a request is refused: its first error and the place of it; None if it has no error."""
    for finding in findings:
        if finding.severity is Severity.ERROR:
            where = f" at {finding.pointer}" if finding.pointer else ""
            return f"{finding.message}{where} ({finding.rule})"
    return None


def judge_event(
    value: dict[str, Any], endpoint: Operation, pointer: str, policy: Policy, vocabulary: Vocabulary = _VOCABULARY
) -> list[Finding]:
    """Return the findings of the event rules for one event in a document."""
    found = _problems_of_event(EventView(value, vocabulary, endpoint, pointer))
    return policy.kept(as_findings(found, policy))


class Found(NamedTuple):
    """A problem and the rule that found it. If ``has_failed``, the problem is that the check itself failed."""

    rule: Rule
    problem: Problem
    authority: str = BUILT_IN
    has_failed: bool = False


def applied(
    rules: Iterable[Rule], subject: object, *, authority: str = BUILT_IN, pointer: str | None = None
) -> Iterator[Found]:
    """Yield what rules find in an exchange, a body or an event. If a rule fails, the others still run.

    Args:
        authority: Authority of findings of rules that rely on a schema.
        pointer: JSON Pointer to the subject in the body.
    """
    for rule in rules:
        try:
            for problem in rule.check(subject):
                yield Found(rule, problem, authority if rule.from_schema else BUILT_IN)
        except Exception as e:  # noqa: BLE001  # the other rules still run
            yield Found(rule, Problem(net.message_of_rule(rule, e), pointer), has_failed=True)


def _problems_of_body(
    raw: bytes, reading: Body, endpoint: Operation, vocabulary: Vocabulary, encoding: str | None
) -> Iterator[Found]:
    """Yield the problems of a body.

    Most bodies of a device differ in their times alone. If one of them was clean, so are the others, and no rule is asked.
    """
    shape = reading.shape
    if shape is not None and vocabulary.is_clean(endpoint, shape):
        return
    is_clean = True
    for problem in _all_problems_of_body(raw, reading, endpoint, vocabulary, encoding):
        is_clean = False
        yield problem
    if is_clean and shape is not None:
        vocabulary.remember_clean(endpoint, shape)


def _all_problems_of_body(
    raw: bytes, reading: Body, endpoint: Operation, vocabulary: Vocabulary, encoding: str | None
) -> Iterator[Found]:
    body = BodyView(raw=raw, reading=reading, endpoint=endpoint, encoding=encoding)
    yield from applied(_BODY, body)
    value = reading.value
    if isinstance(value, dict) and endpoint is not Operation.DOWNLOADED:
        yield from _problems_of_event(EventView(value, vocabulary, endpoint))
    elif isinstance(value, list) and endpoint is not Operation.EVENTS:
        for index, element in enumerate(value):
            if isinstance(element, dict):
                yield from _problems_of_event(EventView(element, vocabulary, endpoint, f"/{index}", in_batch=True))


def _problems_of_event(event: EventView) -> Iterator[Found]:
    value = event.value
    members = ("params" in value, "qoeData" in value, "customMetadata" in value, "playerTime" in value)
    rules = _rules_for(event.type if event.type in EVENTS else None, *members)
    yield from applied(rules, event, authority=event.expected.authority, pointer=event.pointer or None)


def as_findings(found: Iterable[Found], policy: Policy) -> list[Finding]:
    """Return findings in the order of the rules, at most `TOLD` per rule; the count of the last one covers the rest.

    Further problems are counted but not kept, because a body can break a rule as many times as it has bytes.
    """
    told: dict[tuple[int, bool], list[Found]] = {}
    counts: dict[tuple[int, bool], int] = {}
    for each in found:
        key = (ORDER[each.rule.id], each.has_failed)
        counts[key] = count = counts.get(key, 0) + 1
        if count <= TOLD:
            told.setdefault(key, []).append(each)
    findings: list[Finding] = []
    for key in sorted(told):
        rule, has_failed = told[key][0].rule, key[1]
        severity = policy.severity(rule)
        if severity is None or (has_failed and not policy.asks_for(rule)):
            continue
        findings += [_told(each, severity) for each in told[key]]
        if (rest := counts[key] - TOLD) > 0:
            findings[-1] = replace(findings[-1], count=rest + 1)
    return findings


def _told(found: Found, severity: Severity) -> Finding:
    problem = found.problem
    if found.has_failed:
        return net.finding(problem.message, problem.pointer)
    return Finding(
        rule=found.rule.id,
        severity=severity,
        message=problem.message + _suggested(problem),
        # A member's name may contain a lone surrogate.
        pointer=None if problem.pointer is None else ascii_safe(problem.pointer),
        authority=found.authority,
    )


def _suggested(problem: Problem) -> str:
    if problem.suggest is None:
        return ""
    try:
        return problem.suggest()
    except Exception as e:  # noqa: BLE001  # the problem is reported without its suggestion
        return f" ({net.message_of('the suggestion', e)})"


def _lowered(finding: Finding) -> Finding:
    if finding.severity is not Severity.ERROR or not RULES[finding.rule].from_schema:
        return finding
    return replace(finding, severity=Severity.INFO, lowered_by=ACCEPTED)
