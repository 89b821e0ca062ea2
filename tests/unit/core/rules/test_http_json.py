from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.findings import Severity
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.rules import http_json
from proxy_addon.core.rules.rule import TOLD
from tests.builders import BEGIN_MS, SESSION_ID, event, event_dict, exchange, response, start
from tests.unit.core.rules.tables import (
    DOWNLOADED,
    EVENTS,
    PATHS,
    SESSIONS,
    Case,
    answered,
    check_fires,
    check_lowered,
    check_silent,
    encoded,
    fires,
    named,
    rules_of,
    sent,
    silent,
    timed,
    valid,
)

PLAY = sent("play")
START = sent("sessionStart")
BATCH = encoded([valid("sessionStart"), valid("play")])
EVENTS_PATH = PATHS[EVENTS]
LOWERED: frozenset[str] = frozenset()
"""None of these: upstream's word counts against frame, params and quality alone."""


def sends(method: str, path: str, body: bytes = b"", status: int = 204, **changes: Any) -> Exchange:
    return exchange(method, path, body=body, **({"response": response(status)} | changes))


def typed(*content_types: str) -> Exchange:
    headers = (("Host", "upstream.example"), *(("Content-type", value) for value in content_types))
    return sends("POST", EVENTS_PATH, PLAY, headers=headers)


def answers(status: int, body: bytes = b"", path: str = EVENTS_PATH, **changes: Any) -> Exchange:
    sent_body = {EVENTS_PATH: PLAY, "/api/v1/sessions": START, "/api/v1/downloaded": BATCH}.get(path, b"")
    return sends("POST", path, sent_body, response=response(status, body=body), **changes)


def unanswered(outcome: Outcome) -> Exchange:
    return event("play", response=None, outcome=outcome)


def says(message: object) -> bytes:
    return json.dumps({"message": message}).encode()


def nested(depth: int) -> bytes:
    """Return a ``play`` with arrays so deep in its metadata."""
    return sent("play").removesuffix(b"}") + b',"customMetadata":{"a":' + b"[" * depth + b"]" * depth + b"}}"


FIRES = [
    fires("http-method", sends("GET", "/api/v1/sessions"), None, "'GET' on sessions; expected POST"),
    fires("http-method", sends("post", "/api/v1/sessions", START), None, "'post' on sessions; expected POST"),
    fires("http-method", sends("PUT", EVENTS_PATH, PLAY), None, "'PUT' on events; expected POST"),
    fires("http-method", sends("PATCH", "/tv/api/v1/downloaded?x=1"), None, "'PATCH' on downloaded; expected POST"),
    fires("http-method", sends("DELETE", "/api/v1/downloads"), None, "'DELETE' on downloaded; expected POST"),
    fires("http-method", sends("POST", "/api/v1/schemas/play"), None, "'POST' on schemas; expected GET"),
    fires("http-method", sends("X\r\nY", "/api/v1/sessions"), None, r"'X\r\nY' on sessions"),
    fires(
        "http-path-unknown", sends("POST", f"/api/v1/{SESSION_ID}/events", PLAY), None, "is none of /api/v1/sessions"
    ),
    fires("http-path-unknown", sends("POST", "/api/v1/sessions/", START), None, "path '/api/v1/sessions/' is none of"),
    fires("http-path-unknown", sends("POST", "/api/v1/Sessions", START), None, "path '/api/v1/Sessions' is none of"),
    fires("http-path-unknown", sends("POST", "/api/v2/sessions", START), None, "path '/api/v2/sessions' is none of"),
    fires("http-path-unknown", sends("OPTIONS", "/api/v1/elsewhere"), None, "path '/api/v1/elsewhere' is none of"),
    fires("http-path-unknown", sends("GET", "/api/v1/a\0\xff\nb"), None, r"path '/api/v1/a\x00ÿ\nb' is none of"),
    fires("content-type-not-json", typed(), None, "no Content-Type; expected application/json"),
    fires(
        "content-type-not-json", typed("text/plain;charset=UTF-8"), None, "Content-Type is 'text/plain;charset=UTF-8'"
    ),
    fires("content-type-not-json", typed("application/x-www-form-urlencoded"), None, "expected application/json"),
    fires("content-type-not-json", typed("application/vnd.api+json"), None, "'application/vnd.api+json'"),
    fires("content-type-not-json", typed(""), None, "Content-Type is ''"),
    fires("content-type-not-json", typed("text/plain", "application/json"), None, "Content-Type is 'text/plain'"),
    fires("body-empty", b"", "", "the body is empty (0 bytes); expected a JSON object"),
    fires("body-empty", b" \t\r\n", "", "the body is empty (4 bytes)", to=SESSIONS),
    fires("body-empty", b"", "", "the body is empty", to=DOWNLOADED),
    fires("body-empty", sends("POST", EVENTS_PATH), "", "the body is empty"),
    fires("body-not-json", PLAY[:-1], "", "not JSON: "),
    fires("body-not-json", PLAY[:-1], "", "not JSON: ", to=DOWNLOADED),
    fires("body-not-json", PLAY.replace(b"}}", b"},}"), "", "not JSON: "),
    fires("body-not-json", b'{"eventType": "play",}', "", "not JSON: "),
    fires("body-not-json", b"[1,]", "", "not JSON: ", to=SESSIONS),
    fires("body-not-json", PLAY + b" // done", "", "not JSON: Extra data"),
    fires("body-not-json", PLAY + b"\n" + PLAY, "", "not JSON: Extra data"),
    fires("body-not-json", b"{'eventType': 'play'}", "", "not JSON: "),
    fires("body-not-json", timed(playhead=float("nan")), "", "not JSON: NaN is not a JSON value"),
    fires("body-not-json", timed(playhead=float("inf")), "", "not JSON: Infinity is not a JSON value"),
    fires("body-not-json", timed(playhead=float("-inf")), "", "not JSON: -Infinity is not a JSON value"),
    fires("body-not-json", b'{"eventType": "pl\xffay"}', "", "not JSON: invalid UTF-8 at byte 17"),
    fires("body-not-json", b'{"eventType": "\xed\xa0\xbc"}', "", "not JSON: invalid UTF-8 at byte 15"),
    fires("body-not-json", b'{"eventType": "pl\x00ay"}', "", "not JSON: Invalid control character"),
    fires("body-not-json", b'{"ts": 01}', "", "not JSON: "),
    fires("body-not-json", b"undefined", "", "not JSON: Expecting value"),
    fires("body-not-json", b"\xef\xbb\xbf" + PLAY, "", "byte order mark"),
    fires("body-not-json", b"\xc2\xa0", "", "not JSON: "),
    fires("body-not-json", nested(200_000), "", "not JSON: nested too deep"),
    fires(
        "body-not-json",
        sends("POST", EVENTS_PATH, gzip.compress(PLAY, mtime=0), headers=(("content-encoding", "gzip"),)),
        "",
        "(Content-Encoding is 'gzip')",
    ),
    fires(
        "json-duplicate-key",
        PLAY.replace(b"}}", b'},"eventType":"play"}'),
        "/eventType",
        "member 'eventType' is named more than once",
    ),
    fires(
        "json-duplicate-key",
        START.replace(b'"media.id"', b'"media.id":"x","media.id"'),
        "/params/media.id",
        "member 'media.id'",
        to=SESSIONS,
    ),
    fires(
        "json-duplicate-key",
        encoded([valid("sessionStart"), valid("play")]).replace(b'"playhead":0', b'"playhead":1,"playhead":0'),
        "/1/playerTime/playhead",
        "member 'playhead'",
        to=DOWNLOADED,
    ),
    fires(
        "json-duplicate-key",
        sent("sessionStart", {"visitor.customerIDs": {"a/b~c": {"id": "x", "authState": 1}}}).replace(
            b'"id"', b'"id":"y","\\u0069d"'
        ),
        "/params/visitor.customerIDs/a~1b~0c/id",
        "member 'id'",
        to=SESSIONS,
    ),
    fires(
        "json-duplicate-key",
        sent("play", customMetadata={"deep": 1}).replace(b"1}", b'[[[{"\\ud83c":1,"\\ud83c":2}]]]}'),
        "/customMetadata/deep/0/0/0/\ud83c",
        r"member '\ud83c'",
        beside="custom-metadata-value-type custom-metadata-not-on-event",
    ),
    fires("json-duplicate-key", b'[[{"\\u0000":1,"\\u0000":1}]]', "/0/0/\0", r"'\x00'", beside="body-not-object"),
    fires("body-not-object", b"[]", "", "the body is an array; expected an object"),
    fires("body-not-object", BATCH, "", "the body is an array; expected an object"),
    fires("body-not-object", b"null", "", "the body is null; expected an object", to=SESSIONS),
    fires("body-not-object", b"true", "", "the body is true; expected an object"),
    fires("body-not-object", b"1.50", "", "the body is the number 1.50; expected an object"),
    fires("body-not-object", b'"\\ud83c"', "", r"the body is the string '\ud83c'; expected an object"),
    fires("body-not-object", b"9" * 5_000, "", "the body is the number 9999", to=SESSIONS),
    fires(
        "body-not-object",
        encoded([valid("sessionStart"), [valid("play")]]),
        "/1",
        "element 1 is an array; expected an object",
        to=DOWNLOADED,
    ),
    fires("body-not-object", encoded([valid("sessionStart"), None]), "/1", "element 1 is null", to=DOWNLOADED),
    fires(
        "body-not-object",
        encoded([valid("sessionStart", {"media.downloaded": True}), valid("play"), "ping"]),
        "/2",
        "element 2 is the string 'ping'",
        to=SESSIONS,
    ),
    fires("body-unknown-member", sent("play", sessionId=SESSION_ID), "/sessionId", "member 'sessionId' is not allowed"),
    fires(
        "body-unknown-member",
        sent("play", qoedata={}),
        "/qoedata",
        "member 'qoedata' is not allowed; did you mean qoeData?",
    ),
    fires("body-unknown-member", encoded(valid() | {"": None}), "/", "member ''"),
    fires("body-unknown-member", encoded(valid() | {"\ud83c\0~/": 1}), "/\ud83c\0~0~1", r"member '\ud83c\x00~/'"),
    fires("body-unknown-member", encoded([valid("sessionStart", x=1)]), "/0/x", "member 'x'", to=DOWNLOADED),
    fires("upstream-refused", answers(400, says("Request had improper format.")), None, "400: 'Request had improper"),
    fires("upstream-refused", answers(400, path="/api/v1/sessions"), None, "upstream answered 400"),
    fires("upstream-refused", answers(400, b"\xff", path="/api/v1/downloaded"), None, "upstream answered 400"),
    fires("upstream-refused", answers(400, says("a\n\0\ud83c")), None, r"400: 'a\n\x00\ud83c'"),
    fires("upstream-refused", answers(400, says("x" * 200 + "playhead")), None, "playhead'"),
    fires("upstream-session-lost", answers(404), None, "404: it does not know the session ID; open a new session"),
    fires("upstream-session-lost", answers(410), None, "410: the session is closed; open a new one"),
    fires(
        "upstream-session-lost",
        answers(404, path="/api/v1/sessions"),
        None,
        "404 to a request that names no session; check its host and path",
    ),
    fires("upstream-session-lost", answers(410, path="/api/v1/downloaded"), None, "410 to a request that names no"),
    fires("upstream-failed", answers(500, says("down")), None, "upstream answered 500: 'down'"),
    fires("upstream-failed", answers(503), None, "upstream answered 503"),
    fires("upstream-failed", sends("GET", "/api/v1/schemas/play", status=599), None, "upstream answered 599"),
    fires("upstream-failed", unanswered(Outcome.UPSTREAM_TIMEOUT), None, "upstream gave no answer in time"),
    fires("upstream-failed", unanswered(Outcome.UPSTREAM_UNREACHABLE), None, "no connection to upstream could be made"),
    fires("upstream-failed", unanswered(Outcome.UPSTREAM_CLOSED), None, "no complete answer from upstream was"),
]

NEAR = [
    silent("http-method", sends("POST", "/api/v1/sessions", START, 201)),
    silent("http-method", sends("POST", "/tv//api/v1/downloads?x=1", BATCH, 201)),
    silent("http-method", sends("GET", "/api/v1/schemas/play", status=200)),
    silent("http-method", sends("GET", "/api/v1/elsewhere"), beside="http-path-unknown"),
    *(
        silent("http-method", sends("OPTIONS", path, status=200))
        for path in [*PATHS.values(), "/api/v1/downloads", "/api/v1/schemas/play"]
    ),
    silent("http-path-unknown", sends("POST", EVENTS_PATH, PLAY)),
    silent("http-path-unknown", sends("POST", "/some/api/v1/prefix/api/v1/sessions?debug", START, 201)),
    silent("http-path-unknown", sends("POST", "/api/v1/downloads", BATCH, 201)),
    silent("http-path-unknown", sends("GET", "/api/v1/sessions"), beside="http-method"),
    silent("content-type-not-json", typed("application/json")),
    silent("content-type-not-json", typed("Application/JSON ; charset=utf-8")),
    silent("content-type-not-json", typed("application/json", "text/plain")),
    silent("content-type-not-json", sends("OPTIONS", EVENTS_PATH, headers=())),
    silent("content-type-not-json", sends("POST", EVENTS_PATH, PLAY, headers=())),
    silent("content-type-not-json", sends("GET", "/api/v1/schemas/play", headers=())),
    silent("body-empty", b"0", beside="body-not-object"),
    silent("body-empty", b"\x0b", beside="body-not-json"),
    silent("body-empty", b"\xef\xbb\xbf", beside="body-not-json"),
    silent("body-empty", sends("OPTIONS", EVENTS_PATH)),
    silent("body-empty", sends("POST", EVENTS_PATH, complete=False, response=None, outcome=Outcome.CLIENT_GONE)),
    silent("body-not-json", b" \r\n\t" + PLAY + b"\n"),
    silent("body-not-json", b"", beside="body-empty"),
    silent("body-not-json", b'["NaN"]', beside="body-not-object"),
    silent("body-not-json", sent("sessionStart", {"media.name": "x\ud83cy"}), to=SESSIONS),
    silent("body-not-json", sent("sessionStart", {"media.name": "\0\u2028 \x7f"}), to=SESSIONS),
    silent("body-not-json", START.replace(b"A film", "Ein Film \N{BLACK STAR}\u2028\x7f".encode()), to=SESSIONS),
    silent("body-not-json", timed(playhead=10**4_000)),
    silent("body-not-json", PLAY.replace(b'"playhead":0', b'"playhead":' + b"9" * 100_000)),
    silent("body-not-json", PLAY.replace(b'"playhead":0', b'"playhead":1e99999999999999999999')),
    silent("body-not-json", nested(990), beside="custom-metadata-value-type custom-metadata-not-on-event"),
    silent("body-not-json", sends("POST", EVENTS_PATH, PLAY[:-1], complete=False)),
    silent(
        "body-not-json",
        sends("POST", EVENTS_PATH, PLAY, headers=(*event().request.headers, ("Content-Encoding", "gzip"))),
    ),
    silent(
        "json-duplicate-key",
        sent("play", customMetadata={"a": "1", "A": "1", "b.a": "1"}),
        beside="custom-metadata-not-on-event",
    ),
    silent("json-duplicate-key", encoded([valid("sessionStart"), valid("play"), valid("play")]), to=DOWNLOADED),
    silent("json-duplicate-key", sent("statesUpdate", {"statesEnd": [{"media.state.name": "mute"}] * 2})),
    silent("json-duplicate-key", b'{"a":1,"a":2', beside="body-not-json"),
    silent("body-not-object", b"{}", beside="event-type-missing player-time-missing"),
    silent("body-not-object", BATCH, to=DOWNLOADED),
    silent("body-not-object", b"[]", to=DOWNLOADED, beside="downloads-empty"),
    silent("body-not-object", b"[]", to=SESSIONS, beside="downloads-empty downloads-via-sessions"),
    silent("body-not-object", START, to=DOWNLOADED, beside="downloads-not-array"),
    silent("body-not-object", b"null", to=DOWNLOADED, beside="downloads-not-array"),
    silent("body-not-object", b"nul", beside="body-not-json"),
    silent(
        "body-unknown-member",
        sent("sessionStart", customMetadata={"sessionId": "x"}, qoeData={"media.qoe.bitrate": 1}),
        to=SESSIONS,
    ),
    silent("body-unknown-member", sent("play", {"eventTyp": 1}), beside="param-unknown"),
    silent("upstream-refused", answers(401, says("no"))),
    silent("upstream-refused", answers(204)),
    silent("upstream-refused", answers(400, path="/api/v1/elsewhere"), beside="http-path-unknown"),
    silent("upstream-refused", sends("GET", "/api/v1/schemas/play", status=400)),
    silent("upstream-session-lost", answers(403)),
    silent("upstream-session-lost", answers(409)),
    silent("upstream-session-lost", sends("GET", "/api/v1/schemas/play", status=404)),
    silent("upstream-session-lost", sends("OPTIONS", EVENTS_PATH, status=404)),
    silent("upstream-failed", answers(499)),
    silent("upstream-failed", answers(429)),
    silent("upstream-failed", unanswered(Outcome.CLIENT_GONE)),
    silent("upstream-failed", unanswered(Outcome.REJECTED)),
]


@pytest.mark.parametrize("case", FIRES, ids=str)
def test_what_breaks_a_rule_is_found(case: Case):
    check_fires(case)


@pytest.mark.parametrize("case", NEAR, ids=str)
def test_what_nearly_breaks_a_rule_is_not(case: Case):
    check_silent(case)


@pytest.mark.parametrize("case", [case for case in FIRES if isinstance(case.judged, bytes)], ids=str)
def test_where_upstream_took_the_request_what_rests_on_a_schema_is_info(case: Case):
    check_lowered(case, LOWERED)


def test_every_rule_has_what_breaks_it_and_what_nearly_does():
    # The one that has no findings of its own is tested below.
    assert named(FIRES) == named(NEAR) == rules_of(http_json) - {"accepted-by-upstream"}


# Lowering: `accepted-by-upstream`

UNKNOWN_PARAM = fires("param-unknown", sent("play", {"media.newKey": "x"}), "/params/media.newKey", "'media.newKey'")


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_2xx_lowers_an_error_of_a_schema_and_says_what_lowered_it(status: int):
    (finding,) = judge_exchange(answered(UNKNOWN_PARAM, status))
    assert finding.rule == "param-unknown"
    assert finding.severity is Severity.INFO
    assert finding.lowered_by == "accepted-by-upstream"
    assert finding.pointer == "/params/media.newKey"
    assert "'media.newKey' is unknown" in finding.message


@pytest.mark.parametrize("status", [100, 199, 302, 400, 404, 410, 500])
def test_no_other_answer_lowers_anything(status: int):
    findings = {finding.rule: finding for finding in judge_exchange(answered(UNKNOWN_PARAM, status))}
    assert findings["param-unknown"].severity is Severity.ERROR
    assert findings["param-unknown"].lowered_by is None


@pytest.mark.parametrize(
    "changes",
    [
        {"response": None, "outcome": Outcome.UPSTREAM_TIMEOUT},
        {"response": None, "outcome": Outcome.REJECTED},
        {"response": response(204), "outcome": Outcome.CLIENT_GONE},
        {"response": response(204), "outcome": Outcome.UPSTREAM_CLOSED},
    ],
    ids=lambda changes: str(changes["outcome"]),
)
def test_an_answer_that_was_not_complete_lowers_nothing(changes: dict[str, Any]):
    findings = judge_exchange(event(body=sent("play", {"media.newKey": "x"}), **changes))
    (finding,) = [finding for finding in findings if finding.rule == "param-unknown"]
    assert finding.severity is Severity.ERROR


def test_a_body_without_an_answer_is_not_lowered():
    (finding,) = judge_body(sent("play", {"media.newKey": "x"}), EVENTS)
    assert (finding.severity, finding.lowered_by) == (Severity.ERROR, None)


def test_an_answer_of_our_own_collector_lowers_nothing():
    (finding,) = judge_exchange(answered(UNKNOWN_PARAM, server="sessiontape"))
    assert (finding.severity, finding.lowered_by) == (Severity.ERROR, None)


@pytest.mark.parametrize("server", ["nginx", "sessiontape-proxy", "Sessiontape", ""])
def test_any_other_server_is_believed(server: str):
    (finding,) = judge_exchange(answered(UNKNOWN_PARAM, server=server))
    assert finding.lowered_by == "accepted-by-upstream"


def test_an_upstream_that_does_not_name_itself_is_believed():
    (finding,) = judge_exchange(event(body=sent("play", {"media.newKey": "x"})))
    assert finding.lowered_by == "accepted-by-upstream"


def test_what_ruins_the_data_stays_an_error_whatever_upstream_says():
    body = sent("play", {"media.newKey": "x"}, playerTime={"playhead": -1, "ts": 1_772_366_400})
    severities = {finding.rule: finding.severity for finding in judge_exchange(event(body=body))}
    assert severities == {
        "playhead-negative": Severity.ERROR,
        "ts-not-milliseconds": Severity.ERROR,
        "param-unknown": Severity.INFO,
    }


def test_warnings_and_infos_are_not_lowered():
    body = sent("sessionStart", {"media.channel": ""}, without="media.streamType")
    findings = judge_exchange(start(body=body))
    assert {(finding.rule, finding.severity, finding.lowered_by) for finding in findings} == {
        ("param-empty", Severity.WARNING, None),
        ("stream-type-missing", Severity.INFO, None),
    }


def test_what_was_lowered_can_be_selected_and_ignored_by_either_name():
    taken = answered(UNKNOWN_PARAM)
    for name in ("param-unknown", "accepted-by-upstream"):
        assert len(judge_exchange(taken, Policy(select=frozenset({name})))) == 1
        assert judge_exchange(taken, Policy(ignore=frozenset({name}))) == []
    assert judge_exchange(taken, Policy(select=frozenset({"ts-type"}))) == []


# Very many findings of one rule


def lots(count: int) -> bytes:
    return encoded(event_dict("play") | {"qoeData": {}} | {f"x{number}": 1 for number in range(count)})


def test_twenty_places_of_one_rule_are_told_one_by_one():
    findings = judge_body(lots(TOLD), EVENTS)
    assert [(finding.pointer, finding.count) for finding in findings] == [(f"/x{n}", 1) for n in range(TOLD)]


@pytest.mark.parametrize("count", [TOLD + 1, TOLD + 5, 1_000])
def test_of_more_than_twenty_the_last_one_told_stands_for_the_rest(count: int):
    findings = judge_body(lots(count), EVENTS)
    assert len(findings) == TOLD
    assert {finding.rule for finding in findings} == {"body-unknown-member"}
    assert sum(finding.count for finding in findings) == count
    assert findings[-1].count == count - TOLD + 1
    assert findings[-1].message == "member 'x19' is not allowed"
    assert findings[-1].pointer == "/x19"


def test_what_stands_for_the_rest_is_lowered_as_the_others_are():
    params = {f"x{number}": 1 for number in range(TOLD + 5)}
    findings = judge_exchange(event(body=sent("play", params)))
    assert sum(finding.count for finding in findings) == TOLD + 5
    assert {finding.severity for finding in findings} == {Severity.INFO}
    assert {finding.lowered_by for finding in findings} == {"accepted-by-upstream"}


def test_places_are_counted_over_all_events_of_a_batch_and_for_each_rule():
    broken = {"eventType": "play", "playerTime": {"playhead": "x", "ts": BEGIN_MS}, "x": 1}
    findings = judge_body(encoded([valid("sessionStart"), *[broken] * 30]), DOWNLOADED)
    for rule in ("body-unknown-member", "playhead-type"):
        mine = [finding for finding in findings if finding.rule == rule]
        assert len(mine) == TOLD
        assert sum(finding.count for finding in mine) == 30
        assert mine[-1].count == 11
        assert mine[-1].pointer is not None
        assert mine[-1].pointer.startswith("/20/")


# Messages


def test_a_very_long_message_of_upstream_is_cut():
    (finding,) = judge_exchange(answers(400, says("x" * 1_000)))
    assert finding.message == f"upstream answered 400: '{'x' * 300}…'"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"error": "x"}', says(7), says(None), b"\x1f\x8b"])
def test_an_answer_without_a_message_has_none_quoted(body: bytes):
    (finding,) = judge_exchange(answers(400, body))
    assert finding.message == "upstream answered 400"


def test_a_request_that_both_breaks_and_is_refused_has_both_findings():
    findings = judge_exchange(answered(UNKNOWN_PARAM, 400))
    assert [(finding.rule, finding.severity) for finding in findings] == [
        ("upstream-refused", Severity.WARNING),
        ("param-unknown", Severity.ERROR),
    ]
