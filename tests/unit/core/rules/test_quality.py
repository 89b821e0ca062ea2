from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from proxy_addon.core.findings import ACCEPTED, Finding, Severity
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules import quality
from tests.builders import body, event, event_dict, response
from tests.unit.core.rules.whole import rules, rules_of

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
BITRATE, DROPPED = "media.qoe.bitrate", "media.qoe.droppedFrames"
RATE, TO_START = "media.qoe.framesPerSecond", "media.qoe.timeToStart"
ERROR_ID, SOURCE = "media.qoe.errorID", "media.qoe.errorSource"
DETAILS = {ERROR_ID: "404", SOURCE: "player"}


class Fires(NamedTuple):
    """An event that breaks a rule; ``members`` are those beside its type and its time."""

    rule: str
    severity: Severity
    type: str
    members: dict[str, Any]
    pointer: str
    says: str
    also: frozenset[str] = frozenset()


class NearMiss(NamedTuple):
    """An event that comes close to breaking a rule, and what else is said of it."""

    rule: str
    type: str
    members: dict[str, Any]
    also: frozenset[str] = frozenset()


def _quality(value: Any) -> dict[str, Any]:
    return {"qoeData": value}


def _metadata(value: Any) -> dict[str, Any]:
    return {"customMetadata": value}


_NO_OBJECTS: list[tuple[Any, str]] = [
    (None, "null"),
    ([], "an array"),
    ("x", "the string 'x'"),
    (1, "the number 1"),
]
FIRES = [
    *(
        Fires("qoe-type", ERROR, "ping", _quality(value), "/qoeData", f"qoeData is {said}; expected an object")
        for value, said in _NO_OBJECTS
    ),
    Fires(
        "qoe-key-unknown",
        ERROR,
        "ping",
        _quality({"bitrate": 10000}),
        "/qoeData/bitrate",
        "key 'bitrate' of qoeData is unknown; did you mean media.qoe.bitrate?",
    ),
    Fires(
        "qoe-key-unknown",
        ERROR,
        "error",
        _quality({**DETAILS, "media.qoe.errorId": "404"}),
        "/qoeData/media.qoe.errorId",
        "did you mean media.qoe.errorID?",
    ),
    Fires("qoe-key-unknown", ERROR, "ping", _quality({"a/b": 1}), "/qoeData/a~1b", "key 'a/b' of qoeData is unknown"),
    *(
        Fires("qoe-value-type", ERROR, "ping", _quality({key: value}), f"/qoeData/{key}", f"{key} is {said}")
        for key, value, said in [
            (BITRATE, "3200", "the string '3200'; expected an integer"),
            (DROPPED, None, "null; expected an integer"),
            (RATE, 29.97, "the number 29.97; expected an integer"),
            (TO_START, True, "true; expected an integer"),
            (ERROR_ID, 404, "the number 404; expected a string"),
            (SOURCE, ["player"], "an array; expected a string"),
        ]
    ),
    *(
        Fires("qoe-value", WARNING, "ping", _quality({key: -1}), f"/qoeData/{key}", f"{key} is -1; expected 0 or more")
        for key in [BITRATE, DROPPED, RATE, TO_START]
    ),
    *(
        Fires("qoe-key-legacy", WARNING, "ping", _quality({key: value}), f"/qoeData/{key}", f"{key} is only known from")
        for key, value in [
            ("media.qoe.bitrateChange", 3),
            ("media.qoe.playerSdkErrors", "E1"),
            ("media.qoe.externalErrors", ["E1"]),
            ("media.qoe.mediaSdkErrors", None),
        ]
    ),
    *(
        Fires(
            "error-source-unknown",
            WARNING,
            "error",
            _quality({**DETAILS, SOURCE: source}),
            f"/qoeData/{SOURCE}",
            f"{SOURCE} is the string '{source}'; expected player or external",
        )
        for source in ["Player", "", "network"]
    ),
    Fires("error-without-details", INFO, "error", {}, "", "error has no media.qoe.errorID in qoeData"),
    Fires("error-without-details", INFO, "error", _quality({SOURCE: "player"}), "", "error has no media.qoe.errorID"),
    Fires("bitrate-change-without-qoe", INFO, "bitrateChange", {}, "", "bitrateChange has no media.qoe.bitrate"),
    Fires("bitrate-change-without-qoe", INFO, "bitrateChange", _quality({RATE: 25}), "", "no media.qoe.bitrate"),
    Fires(
        "bitrate-change-without-qoe",
        INFO,
        "bitrateChange",
        {"params": {BITRATE: 3200}},
        "",
        "no media.qoe.bitrate in qoeData",
        frozenset({"qoe-in-params"}),
    ),
    *(
        Fires("custom-metadata-type", ERROR, "sessionStart", _metadata(value), "/customMetadata", said)
        for value, said in [
            (None, "customMetadata is null; expected an object"),
            ([{"name": "team", "value": "red"}], "customMetadata is an array; expected an object"),
        ]
    ),
    *(
        Fires("custom-metadata-key", ERROR, "sessionStart", _metadata({key: "x"}), f"/customMetadata/{key}", "letters")
        for key in ["page-type", "", "größe", "page\n", "page type"]
    ),
    *(
        Fires("custom-metadata-value-type", ERROR, "sessionStart", _metadata({"k": value}), "/customMetadata/k", said)
        for value, said in [
            (3, "'k' of customMetadata is the number 3; expected a string"),
            (False, "'k' of customMetadata is false; expected a string"),
            (None, "'k' of customMetadata is null; expected a string"),
            ({"x": "y"}, "'k' of customMetadata is an object; expected a string"),
        ]
    ),
    *(
        Fires("custom-metadata-not-on-event", WARNING, type, _metadata({"k": "v"}), "/customMetadata", f"on {type} is")
        for type in ["play", "ping", "adComplete", "sessionEnd"]
    ),
    *(
        Fires(
            "custom-metadata-reserved-prefix",
            INFO,
            "sessionStart",
            _metadata({key: "x"}),
            f"/customMetadata/{key}",
            f"key '{key}' of customMetadata begins with a prefix that Adobe reserves",
        )
        for key in ["a.media.ad.advertiser", "media.show", "a."]
    ),
]

NEAR_MISSES = [
    NearMiss("qoe-type", "ping", {}),
    NearMiss("qoe-type", "ping", _quality({})),
    NearMiss("qoe-key-unknown", "ping", _quality({BITRATE: 1, DROPPED: 0, RATE: 25, TO_START: 300, **DETAILS})),
    NearMiss("qoe-key-unknown", "ping", _quality({"media.qoe.bitrateChange": 1}), frozenset({"qoe-key-legacy"})),
    NearMiss("qoe-value-type", "ping", _quality({BITRATE: 3200, ERROR_ID: ""})),
    NearMiss("qoe-value-type", "ping", _quality({RATE: 30.0}), frozenset({"integer-as-float"})),
    NearMiss("qoe-value", "ping", _quality({BITRATE: 0, DROPPED: 0, RATE: 0, TO_START: 0})),
    NearMiss("qoe-value", "ping", _quality({BITRATE: -0.5}), frozenset({"qoe-value-type"})),
    NearMiss("qoe-key-legacy", "bitrateChange", _quality({BITRATE: 3})),
    NearMiss("qoe-key-legacy", "ping", _quality({"media.qoe.playersdkerrors": "E1"}), frozenset({"qoe-key-unknown"})),
    NearMiss("error-source-unknown", "error", _quality({**DETAILS, SOURCE: "external"})),
    NearMiss("error-source-unknown", "error", _quality({ERROR_ID: "404"})),
    NearMiss("error-source-unknown", "error", _quality({**DETAILS, SOURCE: 1}), frozenset({"qoe-value-type"})),
    NearMiss("error-without-details", "error", _quality({ERROR_ID: "404"})),
    NearMiss("error-without-details", "play", _quality({SOURCE: "player"})),
    NearMiss(
        "error-without-details", "error", {"params": {"media.errorId": "404"}}, frozenset({"error-details-in-params"})
    ),
    NearMiss("bitrate-change-without-qoe", "bitrateChange", _quality({BITRATE: 0})),
    NearMiss("bitrate-change-without-qoe", "play", _quality({RATE: 25})),
    NearMiss("custom-metadata-type", "sessionStart", {}),
    NearMiss("custom-metadata-type", "sessionStart", _metadata({})),
    NearMiss("custom-metadata-key", "sessionStart", _metadata({"Page_type.2": "article", "_": "x", ".": "y"})),
    NearMiss("custom-metadata-value-type", "sessionStart", _metadata({"k": "", "l": "3", "m": "größe"})),
    NearMiss("custom-metadata-not-on-event", "sessionStart", _metadata({"k": "v"})),
    NearMiss("custom-metadata-not-on-event", "ping", _metadata({})),
    NearMiss("custom-metadata-not-on-event", "nonsense", _metadata({"k": "v"}), frozenset({"event-type-unknown"})),
    NearMiss("custom-metadata-reserved-prefix", "sessionStart", _metadata({"a": "1", "media": "2", "my.media.x": "3"})),
    NearMiss("custom-metadata-reserved-prefix", "sessionStart", _metadata({"Media.show": "News", "ab.c": "4"})),
]


def _judged(type: str, members: dict[str, Any]) -> list[Finding]:
    endpoint = Operation.SESSIONS if type == "sessionStart" else Operation.EVENTS
    return judge_body(body({**event_dict(type), **members}), endpoint)


@pytest.mark.parametrize("row", FIRES, ids=lambda row: f"{row.rule} {row.type} {row.members}")
def test_an_event_breaks_one_rule_and_is_told_where(row):
    findings = _judged(row.type, row.members)
    assert rules(findings) == sorted({row.rule, *row.also})
    [found] = [finding for finding in findings if finding.rule == row.rule]
    assert (found.severity, found.pointer, found.seq, found.count) == (row.severity, row.pointer, None, 1)
    assert row.says in found.message


@pytest.mark.parametrize("row", NEAR_MISSES, ids=lambda row: f"{row.rule} {row.type} {row.members}")
def test_an_event_that_comes_close_does_not_break_the_rule(row):
    assert rules(_judged(row.type, row.members)) == sorted(row.also)


def test_each_rule_over_quality_and_metadata_has_an_event_that_breaks_it_and_a_near_miss():
    assert {row.rule for row in FIRES} == rules_of(quality)
    assert {row.rule for row in NEAR_MISSES} == rules_of(quality)


@pytest.mark.parametrize("type", ["sessionStart", "adStart", "chapterStart"])
def test_metadata_of_content_ads_and_chapters_is_reported(type):
    findings = _judged(type, _metadata({"k": "v"}))
    assert "custom-metadata-not-on-event" not in rules(findings)


def test_each_wrong_key_is_told_by_itself():
    findings = _judged("sessionStart", {"customMetadata": {"a-b": "x", "c d": "y", "ok": "z"}})
    assert [(finding.rule, finding.pointer) for finding in findings] == [
        ("custom-metadata-key", "/customMetadata/a-b"),
        ("custom-metadata-key", "/customMetadata/c d"),
    ]


def test_a_problem_in_a_batch_is_told_with_the_index_of_its_element():
    batch = [event_dict("sessionStart"), {**event_dict("ping"), "qoeData": {"fps": 25}}, event_dict("sessionEnd")]
    [finding] = judge_body(body(batch), Operation.DOWNLOADED)
    assert (finding.rule, finding.pointer) == ("qoe-key-unknown", "/1/qoeData/fps")


@pytest.mark.parametrize("rule", ["qoe-type", "qoe-key-unknown", "qoe-value-type"])
def test_what_a_schema_is_said_to_refuse_is_info_once_upstream_took_it(rule):
    row = next(row for row in FIRES if row.rule == rule and row.type == "ping")
    sent = body({**event_dict(row.type), **row.members})
    [taken] = judge_exchange(event(body=sent))
    assert (taken.rule, taken.severity, taken.lowered_by) == (rule, INFO, ACCEPTED)
    refused = judge_exchange(event(body=sent, response=response(400)))
    assert {(finding.rule, finding.severity) for finding in refused} == {(rule, ERROR), ("upstream-refused", WARNING)}


def test_what_no_schema_says_stays_a_warning_although_upstream_took_it():
    [finding] = judge_exchange(event(body=body({**event_dict("ping"), "qoeData": {BITRATE: -1}})))
    assert (finding.rule, finding.severity, finding.lowered_by) == ("qoe-value", WARNING, None)
