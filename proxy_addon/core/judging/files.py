"""Judge files: one request body, or a whole session as a list of bodies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from proxy_addon.core.events import Body, Event, read_body, read_event
from proxy_addon.core.findings import Deviation, Finding, Judgement, Place
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.fixtures.listed import ListedBody, bodies_in, is_listed, session_in
from proxy_addon.core.judging import net
from proxy_addon.core.judging.exchanges import Found, applied, as_findings, judge_body, judge_event
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.recorded import SessionWatch
from proxy_addon.core.judging.sessions import SessionFacts, SessionJudge
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules import RULES
from proxy_addon.core.rules.body_views import BodyView, Vocabulary
from proxy_addon.core.rules.rule import Problem
from proxy_addon.core.rules.session_view import session_event
from proxy_addon.core.wording import shown


class FileKind(StrEnum):
    """What a file contains: a body for an endpoint, or a whole session."""

    SESSIONS = "sessions"
    EVENTS = "events"
    DOWNLOADED = "downloaded"
    SESSION = "session"


def judge_file(raw: bytes, what: FileKind, policy: Policy = DEFAULT, *, held: HeldSession | None = None) -> Judgement:
    """Return the findings of a file, which is one request body or a whole session. Never fails.

    Args:
        what: A whole session is a list of bodies, or ``{"events": [{"t": seconds, …the body…} …]}``.
        held: The whole session in it, if the caller has read it; without it, its recording has no name.
    """
    try:
        return _judge_file(raw, what, policy, held)
    except Exception as e:  # noqa: BLE001  # reported as a fault of ours
        return Judgement(of_exchanges=tuple(policy.kept([net.finding(net.message_of("judging this file", e))])))


def judge_held(held: HeldSession, policy: Policy = DEFAULT) -> Judgement:
    """Return what is to be said of a session with its exchanges, out of a file; it counts as over.

    Pointers are into the body of each exchange.
    """
    if held.written is not None:
        return _judge_written(held, held.written, policy)
    session = held.session
    watch = SessionWatch(session, session.last_event_at, policy, Vocabulary(policy.params), closed=True)
    for _ in watch.judging(held.exchanges):
        pass
    return watch.judgement()


def _judge_written(held: HeldSession, written: bytes, policy: Policy) -> Judgement:
    judgement = judge_file(written, FileKind.SESSION, policy, held=held)
    pointers = [body.pointer for body in bodies_in(read_body(written).value)]

    def below(place: Place) -> Place:
        of_body = pointers[place.seq - 1]
        pointer = place.pointer.removeprefix(of_body) if place.pointer is not None else None
        return Place(place.seq, pointer or None)

    def moved(finding: Finding) -> Finding:
        if finding.seq is None:
            return finding
        first = below(Place(finding.seq, finding.pointer))
        return replace(finding, pointer=first.pointer, others=tuple(below(place) for place in finding.others))

    return Judgement(
        of_exchanges=tuple(moved(finding) for finding in judgement.of_exchanges),
        of_session=tuple(moved(finding) for finding in judgement.of_session),
        holes=judgement.holes,
        deviations=judgement.deviations,
        plan_groups=judgement.plan_groups,
    )


def guess(raw: bytes, *, is_list: bool) -> tuple[FileKind, str]:
    """Return what a file with bodies will be that nobody has said anything about, and why, as a clause."""
    reading = read_body(raw)
    if is_list:
        first = reading.events[0] if reading.is_batch and reading.events else Event()
        if first.params.get("media.downloaded") is True:
            return FileKind.DOWNLOADED, "it is a list of bodies that begins with media.downloaded"
        return FileKind.SESSION, "it is a list of bodies"
    if any(event.type == "sessionStart" for event in reading.events):
        return FileKind.SESSIONS, "it is a sessionStart"
    return FileKind.EVENTS, "it is one body, but not a sessionStart" if reading.problem is None else "it is not JSON"


def _judge_file(raw: bytes, what: FileKind, policy: Policy, held: HeldSession | None) -> Judgement:
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
        if policy.plan is not None:
            found += policy.plan.judge(None, policy).take_body(reading, len(raw))
        return Judgement(of_exchanges=tuple(found), of_session=tuple(of_session))
    return _judge_list(raw, reading, policy, vocabulary, held)


def _judge_list(
    raw: bytes, reading: Body, policy: Policy, vocabulary: Vocabulary, held: HeldSession | None
) -> Judgement:
    view = BodyView(raw=raw, reading=reading, endpoint=Operation.SESSIONS)
    document = [RULES[id] for id in ("body-empty", "body-not-json", "json-duplicate-key")]
    found = policy.kept(as_findings(applied(document, view), policy))
    if not is_listed(reading.value):
        if reading.problem is None:
            rule = RULES["body-not-object"]
            message = (
                f"the file holds {shown(reading.value)}; expected a list of events, or an object with one under events"
            )
            found += policy.kept(as_findings([Found(rule, Problem(message, ""))], policy))
        return Judgement(of_exchanges=tuple(found))
    bodies = bodies_in(reading.value)
    if not bodies:
        where = "" if reading.is_batch else "/events"
        empty = Problem("the session has no events; expected sessionStart", where)
        found += policy.kept(as_findings([Found(RULES["session-start-first"], empty)], policy))
        return Judgement(of_exchanges=tuple(found))
    plan = None
    if policy.plan is not None:
        held = held or session_in(reading.value, raw)
        plan = policy.plan.judge(held.session, policy)
    by_arrival = all(body.arrived_s is not None for body in bodies)
    judge = SessionJudge(SessionFacts(by_arrival=by_arrival, has_clock=False), policy)
    for seq, body in enumerate(bodies, 1):
        if not isinstance(body.value, dict):
            problem = Problem(f"element {seq - 1} is {shown(body.value)}; expected an object", body.pointer)
            findings = policy.kept(as_findings([Found(RULES["body-not-object"], problem)], policy))
        else:
            event = read_event(body.value)
            endpoint = Operation.SESSIONS if event.type == "sessionStart" else Operation.EVENTS
            findings = judge_event(body.value, endpoint, body.pointer, policy, vocabulary)
            sha256 = hashlib.sha256(repr(body.value).encode("utf-8", "surrogatepass")).hexdigest()
            judge.add(session_event(event, seq=seq, pointer=body.pointer, arrived_s=body.arrived_s, body_sha256=sha256))
        found += [replace(finding, seq=seq) for finding in findings]
        if plan is not None and held is not None:
            found += [_in_list(finding, bodies) for finding in plan.take(held.exchanges[seq - 1], seq)]
    of_session = judge.findings(is_over=True)
    deviations: Mapping[Deviation, int] = {}
    if plan is not None:
        of_plan, deviations = plan.judgement(is_over=True)
        of_session += [_in_list(finding, bodies) for finding in of_plan]
    return Judgement(
        of_exchanges=tuple(found),
        of_session=tuple(of_session),
        deviations=deviations,
        plan_groups=() if plan is None else plan.groups,
    )


def _in_list(finding: Finding, bodies: Sequence[ListedBody]) -> Finding:
    """Return a finding with pointers into the whole list."""
    if finding.seq is None:
        return finding
    first, *others = (Place(seq, f"{bodies[seq - 1].pointer}{pointer or ''}") for seq, pointer in finding.places)
    return replace(finding, pointer=first.pointer, others=tuple(others))
