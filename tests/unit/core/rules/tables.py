"""Bodies that break a rule and bodies that nearly do, as tables; and what is checked of each row."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules import RULES
from tests.builders import BEGIN_MS, SESSION_ID, START_PARAMS, body, event_dict, exchange, response

SESSIONS, EVENTS, DOWNLOADED = Operation.SESSIONS, Operation.EVENTS, Operation.DOWNLOADED
PATHS = {
    SESSIONS: "/api/v1/sessions",
    EVENTS: f"/api/v1/sessions/{SESSION_ID}/events",
    DOWNLOADED: "/api/v1/downloaded",
}
SEVERITIES: Mapping[str, str] = {
    row["id"]: row["severity"]
    for row in json.loads((Path(__file__).parents[3] / "samples/rules.json").read_text(encoding="utf-8"))
}
"""Of all rules, as the protocol's description has them."""

PARAMS: Mapping[str, Mapping[str, Any]] = {
    "sessionStart": START_PARAMS,
    "adBreakStart": {"media.ad.podIndex": 1, "media.ad.podSecond": 0},
    "adStart": {
        "media.ad.id": "ad-17",
        "media.ad.length": 30,
        "media.ad.podPosition": 1,
        "media.ad.playerName": "HTML5 Player",
    },
    "chapterStart": {"media.chapter.index": 1, "media.chapter.offset": 0, "media.chapter.length": 900},
    "stateStart": {"media.state.name": "mute"},
    "stateEnd": {"media.state.name": "mute"},
    "statesUpdate": {"statesStart": [{"media.state.name": "mute"}]},
}
QUALITY: Mapping[str, Mapping[str, Any]] = {
    "bitrateChange": {"media.qoe.bitrate": 4500},
    "error": {"media.qoe.errorID": "4012", "media.qoe.errorSource": "player"},
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A body, or an exchange, and what is said of it.

    Attributes:
        rule: The one it is about.
        judged: A body, posted to ``to``; or an exchange.
        pointer: Where the rule points; half pairs of surrogates, which UTF-8 has no place for, are escaped in it.
        says: What its message has.
        beside: Other rules that cannot be avoided: of a case that fires, those that warn; of a near miss, all.
    """

    rule: str
    judged: bytes | Exchange
    to: Operation = EVENTS
    pointer: str | None = None
    says: str = ""
    beside: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.rule


def fires(
    rule: str, judged: bytes | Exchange, pointer: str | None, says: str, *, to: Operation = EVENTS, beside: str = ""
) -> Case:
    return Case(
        rule=rule,
        judged=judged,
        to=to,
        pointer=None if pointer is None else pointer.encode("utf-8", "backslashreplace").decode(),
        says=says,
        beside=frozenset(beside.split()),
    )


def silent(rule: str, judged: bytes | Exchange, *, to: Operation = EVENTS, beside: str = "") -> Case:
    return Case(rule=rule, judged=judged, to=to, beside=frozenset(beside.split()))


def valid(
    event_type: str = "play",
    params: Mapping[str, Any] | None = None,
    *,
    without: str = "",
    drop: str = "",
    **members: Any,
) -> dict[str, Any]:
    """Return a valid event with changes.

    Args:
        params: Added to those that the event needs.
        without: Params to leave out.
        drop: Members to leave out.
        **members: In place of what the event has.
    """
    all_params = {**PARAMS.get(event_type, {}), **(params or {})}
    left = {name: value for name, value in all_params.items() if name not in without.split()}
    event = event_dict(event_type, params=left if left or without or params is not None else None)
    if event_type in QUALITY:
        event["qoeData"] = dict(QUALITY[event_type])
    event.update(members)
    return {name: value for name, value in event.items() if name not in drop.split()}


def sent(event_type: str = "play", params: Mapping[str, Any] | None = None, **changes: Any) -> bytes:
    """Return a `valid` event as a body."""
    return encoded(valid(event_type, params, **changes))


def timed(**members: Any) -> bytes:
    """Return a ``play`` with changes to its ``playerTime``."""
    return sent(playerTime={"playhead": 12.5, "ts": BEGIN_MS, **members})


def as_written(text: str) -> str:
    """Return a value that `encoded` writes so and no other way."""
    return f"@{text}@"


def encoded(value: object) -> bytes:
    return re.sub(rb'"@(.*?)@"', rb"\1", body(value))


def judged(case: Case) -> list[Finding]:
    if isinstance(case.judged, Exchange):
        return judge_exchange(case.judged)
    return judge_body(case.judged, case.to)


def answered(case: Case, status: int = 204, *, server: str = "nginx/1.13.5") -> Exchange:
    """Return the exchange in which a case's body was posted, and answered so."""
    assert isinstance(case.judged, bytes)
    return exchange("POST", PATHS[case.to], body=case.judged, response=response(status, headers=(("Server", server),)))


def check_fires(case: Case) -> None:
    """Assert that a case's rule says what it should, and that no other rule warns."""
    findings = judged(case)
    found = [finding for finding in findings if finding.rule == case.rule and finding.pointer == case.pointer]
    assert found, findings
    assert found[0].severity == SEVERITIES[case.rule]
    assert case.says in found[0].message
    assert found[0].lowered_by is None
    for finding in findings:
        assert "\n" not in finding.message
        finding.message.encode()
    own = set() if SEVERITIES[case.rule] == "info" else {case.rule}
    assert {finding.rule for finding in findings if finding.severity is not Severity.INFO} == own | case.beside


def check_silent(case: Case) -> None:
    """Assert that a case's rule says nothing, and no other does."""
    assert case.rule not in case.beside
    assert {finding.rule for finding in judged(case)} == case.beside


def check_lowered(case: Case, lowered: frozenset[str]) -> None:
    """Assert what becomes of a case's finding where an upstream took the request."""
    told = judged(replace(case, judged=answered(case, 500)))
    taken = judge_exchange(answered(case))
    (before,) = [f for f in told if (f.rule, f.pointer) == (case.rule, case.pointer)][:1]
    (after,) = [f for f in taken if (f.rule, f.pointer) == (case.rule, case.pointer)][:1]
    assert before.severity == SEVERITIES[case.rule]
    if case.rule in lowered:
        assert after == replace(before, severity=Severity.INFO, lowered_by="accepted-by-upstream")
    else:
        assert after == before


def rules_of(module: ModuleType) -> set[str]:
    return {rule.id for rule in RULES.values() if rule.check.__module__ == module.__name__}


def named(cases: Iterable[Case]) -> set[str]:
    return {case.rule for case in cases}
