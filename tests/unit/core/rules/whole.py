"""Whole sessions for tests, each event a short tuple, and what the judge says of them.

An event is ``(event_type, t_s, playhead_s)``, with params and time of arrival after it where they matter. Times count
from `BEGIN`; an event arrives when it happens unless told otherwise. Keys of quality among the params go to
``qoeData``.

>>> rules(judged([("sessionStart", 0, 0), ("play", 0.1, 0), ("ping", 10, 10)]))
['session-not-closed']
>>> [event.type for event in built([("sessionStart", 0, 0), ("play", 1, 0, {}, 3), ("ping", 2, 1)])]
['sessionStart', 'ping', 'play']
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from proxy_addon.core.events import read_event
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.sessions import SessionFacts, SessionJudge
from proxy_addon.core.rules import RULES
from proxy_addon.core.rules.session_view import SessionEvent, session_event
from tests.builders import BEGIN, BEGIN_MS, START_PARAMS, body, event_dict

Row = tuple[Any, ...]
"""An event: type, seconds, playhead, and perhaps params and seconds of arrival."""
LIVE = {"media.contentType": "live", "media.length": 86400}


class Fires(NamedTuple):
    """A session that breaks a rule, and of which nothing else is said.

    Attributes:
        seq: Of the event that breaks it, in the order of arrival; None where it is about the session.
        says: What its message holds.
        also: What cannot be helped to be said with it.
    """

    rule: str
    severity: Severity
    events: Sequence[Row]
    seq: int | None
    says: str
    facts: Mapping[str, Any] = {}
    also: frozenset[str] = frozenset()


class NearMiss(NamedTuple):
    """A session that comes close to breaking a rule, and of which nothing at all is said."""

    rule: str
    why: str
    events: Sequence[Row]
    facts: Mapping[str, Any] = {}


def built(events: Iterable[Row]) -> list[SessionEvent]:
    """Return events in the order of their arrival."""
    arrived = sorted(events, key=_arrival)
    return [_built(row, seq) for seq, row in enumerate(arrived, 1)]


def judged(events: Iterable[Row], *, is_over: bool = True, policy: Policy = DEFAULT, **facts: Any) -> list[Finding]:
    """Return what is said of a session; further arguments are those of `SessionFacts`."""
    judge = SessionJudge(SessionFacts(**facts), policy)
    for event in built(events):
        judge.add(event)
    return judge.findings(is_over=is_over)


def rules(findings: Iterable[Finding]) -> list[str]:
    """Return the ids of the rules that found something, sorted."""
    return sorted({finding.rule for finding in findings})


def rules_of(module: ModuleType) -> set[str]:
    """Return the ids of the rules that stand in a module."""
    return {rule.id for rule in RULES.values() if rule.check.__module__ == module.__name__}


def assert_fires(row: Fires) -> None:
    """Assert that a session breaks its rule, once, where the row says, and no other."""
    findings = judged(row.events, **row.facts)
    assert rules(findings) == sorted({row.rule, *row.also}), findings
    [found] = [finding for finding in findings if finding.rule == row.rule]
    assert (found.severity, found.seq, found.pointer, found.count) == (row.severity, row.seq, None, 1), found
    assert row.says in found.message, found


def id_of(row: Any) -> str:
    """Return the name of a row in a report."""
    return f"{row.rule}: {row.why}" if isinstance(row, NearMiss) else str(row.rule)


def _arrival(row: Row) -> float:
    return float(row[4] if len(row) > 4 else row[1])


def _built(row: Row, seq: int) -> SessionEvent:
    event_type, t_s, playhead_s, *rest = row
    given = (rest[0] if rest else None) or {}
    params = {name: value for name, value in given.items() if not name.startswith("media.qoe.")}
    quality = {name: value for name, value in given.items() if name.startswith("media.qoe.")}
    if event_type == "sessionStart":
        params = {**START_PARAMS, **params}
    value = event_dict(
        event_type, playhead=playhead_s, ts=BEGIN_MS + round(t_s * 1000), params=params or None, qoeData=quality or None
    )
    return session_event(
        read_event(value),
        seq=seq,
        arrived_s=BEGIN.timestamp() + _arrival(row),
        body_sha256=hashlib.sha256(body(value)).hexdigest() if event_type == "sessionStart" else None,
    )
