"""Judge files: one request body, or a whole session as a list of bodies."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from enum import StrEnum
from typing import Any

from proxy_addon.core.events import Body, read_body, read_event
from proxy_addon.core.findings import Finding, Judgement
from proxy_addon.core.judging import net
from proxy_addon.core.judging.exchanges import Found, applied, as_findings, judge_body, judge_event
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.sessions import SessionFacts, SessionJudge
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules import RULES
from proxy_addon.core.rules.body_views import BodyView, Vocabulary
from proxy_addon.core.rules.rule import Problem
from proxy_addon.core.rules.session_view import session_event
from proxy_addon.core.wording import shown


class FileKind(StrEnum):
    """What a file is: a body for an endpoint, or a whole session."""

    SESSIONS = "sessions"
    EVENTS = "events"
    DOWNLOADED = "downloaded"
    SESSION = "session"


def judge_file(raw: bytes, what: FileKind, policy: Policy = DEFAULT) -> Judgement:
    """Return what is to be said of a file: one request body, or a whole session. Never fails.

    Args:
        what: A whole session is a list of bodies, or ``{"events": [{"t": seconds, …the body…} …]}``.
    """
    try:
        return _judge_file(raw, what, policy)
    except Exception as e:  # noqa: BLE001  # a fault of ours is told as one
        return Judgement(of_exchanges=tuple(policy.kept([net.finding(net.message_of("judging this file", e))])))


def _judge_file(raw: bytes, what: FileKind, policy: Policy) -> Judgement:
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
        return Judgement(of_exchanges=tuple(found), of_session=tuple(of_session))
    return _judge_list(raw, reading, policy, vocabulary)


def _judge_list(raw: bytes, reading: Body, policy: Policy, vocabulary: Vocabulary) -> Judgement:
    value, base = reading.value, ""
    if isinstance(value, dict) and isinstance(value.get("events"), list):
        value, base = value["events"], "/events"
    view = BodyView(raw=raw, reading=reading, endpoint=Operation.SESSIONS)
    document = [RULES[id] for id in ("body-empty", "body-not-json", "json-duplicate-key")]
    found = policy.kept(as_findings(applied(document, view), policy))
    if not isinstance(value, list):
        if reading.problem is None:
            rule = RULES["body-not-object"]
            message = f"the file holds {shown(value)}; expected a list of events, or an object with one under events"
            found += policy.kept(as_findings([Found(rule, Problem(message, ""))], policy))
        return Judgement(of_exchanges=tuple(found))
    if not value:
        empty = Problem("the session has no events; expected sessionStart", base)
        found += policy.kept(as_findings([Found(RULES["session-start-first"], empty)], policy))
        return Judgement(of_exchanges=tuple(found))
    times = [_seconds(element.get("t")) if isinstance(element, dict) and base else None for element in value]
    facts = SessionFacts(by_arrival=bool(value) and None not in times, has_clock=False)
    judge = SessionJudge(facts, policy)
    for index, element in enumerate(value):
        seq, pointer = index + 1, f"{base}/{index}"
        if not isinstance(element, dict):
            problem = Problem(f"element {index} is {shown(element)}; expected an object", pointer)
            findings = policy.kept(as_findings([Found(RULES["body-not-object"], problem)], policy))
        else:
            body = {name: member for name, member in element.items() if name != "t" or not base}
            event = read_event(body)
            endpoint = Operation.SESSIONS if event.type == "sessionStart" else Operation.EVENTS
            findings = judge_event(body, endpoint, pointer, policy, vocabulary)
            sha256 = hashlib.sha256(repr(body).encode("utf-8", "surrogatepass")).hexdigest()
            judge.add(session_event(event, seq=seq, pointer=pointer, arrived_s=times[index], body_sha256=sha256))
        found += [replace(finding, seq=seq) for finding in findings]
    return Judgement(of_exchanges=tuple(found), of_session=tuple(judge.findings(is_over=True)))


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 10**12:
        return None
    return float(value)
