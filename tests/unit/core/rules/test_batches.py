from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from proxy_addon.core.findings import Severity
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules import batches
from tests.builders import START_PARAMS, batch, body, event_dict
from tests.unit.core.rules.whole import rules, rules_of

ERROR, INFO = Severity.ERROR, Severity.INFO
SESSIONS, EVENTS, DOWNLOADED = Operation.SESSIONS, Operation.EVENTS, Operation.DOWNLOADED
START, PLAY, END = event_dict("sessionStart"), event_dict("play"), event_dict("sessionEnd")
VIA_SESSIONS = frozenset({"downloads-via-sessions"})


def _start(*, flag: Any) -> dict[str, Any]:
    return event_dict("sessionStart", params={**START_PARAMS, "media.downloaded": flag})


FLAGGED = _start(flag=True)


class Fires(NamedTuple):
    """A body that breaks a rule, and what else is said of it."""

    rule: str
    severity: Severity
    endpoint: Operation
    value: Any
    pointer: str
    says: str
    also: frozenset[str] = frozenset()


class NearMiss(NamedTuple):
    """A body that comes close to breaking a rule, and what else is said of it."""

    rule: str
    endpoint: Operation
    value: Any
    also: frozenset[str] = frozenset()


FIRES = [
    *(
        Fires("downloads-not-array", ERROR, DOWNLOADED, value, "", f"the body is {said}; expected an array of events")
        for value, said in [(START, "an object"), (None, "null"), ("x", "the string 'x'"), (1, "the number 1")]
    ),
    Fires("downloads-empty", ERROR, DOWNLOADED, [], "", "the array is empty; expected events"),
    Fires("downloads-empty", ERROR, SESSIONS, [], "", "the array is empty; expected events", VIA_SESSIONS),
    Fires(
        "downloads-first-not-session-start",
        ERROR,
        DOWNLOADED,
        [PLAY, START, END],
        "/0/eventType",
        "eventType of the first element is the string 'play'; expected sessionStart",
    ),
    Fires(
        "downloads-first-not-session-start",
        ERROR,
        SESSIONS,
        [PLAY, END],
        "/0/eventType",
        "the string 'play'; expected sessionStart",
        VIA_SESSIONS,
    ),
    Fires(
        "downloads-first-not-session-start",
        ERROR,
        DOWNLOADED,
        [event_dict(None), START],
        "/0",
        "the first element has no event type; expected sessionStart",
        frozenset({"event-type-missing"}),
    ),
    Fires(
        "downloads-first-not-session-start",
        ERROR,
        DOWNLOADED,
        [{**PLAY, "eventType": 1}, START],
        "/0/eventType",
        "eventType of the first element is the number 1; expected sessionStart",
        frozenset({"event-type-unknown"}),
    ),
    Fires(
        "downloaded-flag-missing",
        ERROR,
        SESSIONS,
        [START, END],
        "/0/params",
        "media.downloaded is missing; an array on sessions needs it true",
        VIA_SESSIONS,
    ),
    Fires(
        "downloaded-flag-missing",
        ERROR,
        SESSIONS,
        [_start(flag=False), END],
        "/0/params/media.downloaded",
        "media.downloaded is false; an array on sessions needs it true",
        VIA_SESSIONS,
    ),
    Fires(
        "downloaded-flag-missing",
        ERROR,
        SESSIONS,
        [_start(flag="true"), END],
        "/0/params/media.downloaded",
        "media.downloaded is the string 'true'; an array on sessions needs it true",
        VIA_SESSIONS | {"param-type"},
    ),
    Fires(
        "downloaded-flag-missing",
        ERROR,
        SESSIONS,
        [{name: value for name, value in START.items() if name != "params"}],
        "/0",
        "media.downloaded is missing",
        VIA_SESSIONS | {"params-missing"},
    ),
    Fires(
        "downloaded-flag-missing",
        ERROR,
        SESSIONS,
        [PLAY, START],
        "/1/params",
        "media.downloaded is missing",
        VIA_SESSIONS | {"downloads-first-not-session-start"},
    ),
    Fires(
        "downloads-via-sessions",
        INFO,
        SESSIONS,
        [FLAGGED, PLAY, END],
        "",
        "a batch was posted to /api/v1/sessions; /api/v1/downloaded is the documented path",
    ),
]

NEAR_MISSES = [
    NearMiss("downloads-not-array", DOWNLOADED, [START, END]),
    NearMiss("downloads-not-array", SESSIONS, START),
    NearMiss("downloads-empty", DOWNLOADED, [START]),
    NearMiss("downloads-empty", EVENTS, [], frozenset({"body-not-object"})),
    NearMiss("downloads-first-not-session-start", DOWNLOADED, [START, PLAY]),
    NearMiss("downloads-first-not-session-start", DOWNLOADED, [[], START], frozenset({"body-not-object"})),
    NearMiss("downloads-first-not-session-start", EVENTS, [PLAY, START], frozenset({"body-not-object"})),
    NearMiss("downloaded-flag-missing", SESSIONS, [FLAGGED, END], VIA_SESSIONS),
    NearMiss("downloaded-flag-missing", DOWNLOADED, [START, END]),
    NearMiss("downloaded-flag-missing", DOWNLOADED, [_start(flag=False), END]),
    NearMiss("downloaded-flag-missing", SESSIONS, _start(flag=False)),
    NearMiss("downloads-via-sessions", DOWNLOADED, [FLAGGED, END]),
    NearMiss("downloads-via-sessions", SESSIONS, START),
    NearMiss("downloads-via-sessions", EVENTS, [PLAY], frozenset({"body-not-object"})),
]


@pytest.mark.parametrize("row", FIRES, ids=lambda row: f"{row.rule} {row.says}")
def test_a_body_breaks_a_rule_and_is_told_where(row):
    findings = judge_body(body(row.value), row.endpoint)
    assert rules(findings) == sorted({row.rule, *row.also})
    [found] = [finding for finding in findings if finding.rule == row.rule]
    assert (found.severity, found.pointer, found.seq, found.count) == (row.severity, row.pointer, None, 1)
    assert row.says in found.message


@pytest.mark.parametrize("row", NEAR_MISSES, ids=lambda row: f"{row.rule} {row.endpoint}")
def test_a_body_that_comes_close_does_not_break_the_rule(row):
    assert rules(judge_body(body(row.value), row.endpoint)) == sorted(row.also)


def test_each_rule_over_batches_has_a_body_that_breaks_it_and_a_near_miss():
    assert {row.rule for row in FIRES} == rules_of(batches)
    assert {row.rule for row in NEAR_MISSES} == rules_of(batches)


@pytest.mark.parametrize(("raw", "rule"), [(b"", "body-empty"), (b"[", "body-not-json")])
def test_a_body_that_is_no_json_is_not_called_no_array(raw, rule):
    assert rules(judge_body(raw, DOWNLOADED)) == [rule]


@pytest.mark.parametrize("path", ["/api/v1/downloaded", "/api/v1/downloads"])
def test_a_batch_as_documented_breaks_no_rule(path):
    assert judge_exchange(batch([START, PLAY, END], path=path)) == []


def test_a_batch_as_the_mobile_sdks_send_it_breaks_no_rule_that_is_more_than_info():
    exchange = batch([FLAGGED, PLAY, END], path="/api/v1/sessions")
    assert [(finding.rule, finding.severity) for finding in judge_exchange(exchange)] == [
        ("downloads-via-sessions", INFO)
    ]
