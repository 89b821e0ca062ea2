from __future__ import annotations

from typing import Any

import pytest

from proxy_addon.core import protocol
from proxy_addon.core.judging.exchanges import judge_body
from proxy_addon.core.protocol import Key
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules import params
from proxy_addon.core.rules.body_views import Vocabulary
from tests.builders import BEGIN_MS, START_PARAMS
from tests.unit.core.rules.tables import (
    DOWNLOADED,
    EVENTS,
    PARAMS,
    SESSIONS,
    Case,
    as_written,
    check_fires,
    check_lowered,
    check_silent,
    encoded,
    fires,
    named,
    rules_of,
    sent,
    silent,
    valid,
)

IDS = "visitor.customerIDs"
NAME = "media.state.name"
LONG = "9" * 5_000
LOWERED = frozenset(
    {
        "params-missing",
        "params-type",
        "param-missing",
        "param-type",
        "param-unknown",
        "param-case",
        "customer-ids-shape",
    }
)
"""Those whose evidence is a schema or a type."""
WRONG: dict[str, list[Any]] = {
    "string": [None, True, 0, as_written("5.0"), [], {}, 2**63],
    "number": [None, False, "", "3600", "\ud83c", [], {}],
    "integer": [None, True, "1", as_written("1.5"), as_written("1e-400"), [1], {}],
    "boolean": [None, 0, 1, "true", "TRUE", [], {}],
    "object": [None, True, 1, "{}", [], [{}]],
    "array": [None, True, 1, "[]", {}],
}
"""Values that a param of that type cannot have."""
NO_STATES: list[dict[str, Any]] = [{}, {"statesStart": []}, {"statesStart": [], "statesEnd": []}]


def places(name: str) -> str:
    return f"/params/{name}"


def on_start(rule: str, changes: dict[str, Any], name: str, says: str, beside: str = "") -> Case:
    return fires(rule, sent("sessionStart", changes), places(name), says, to=SESSIONS, beside=beside)


def fine_on_start(rule: str, changes: dict[str, Any], beside: str = "") -> Case:
    return silent(rule, sent("sessionStart", changes), to=SESSIONS, beside=beside)


def customer(rule: str, value: Any, says: str) -> Case:
    return on_start(rule, {IDS: {"fine": {"id": "7", "authState": 1}, "crm/a": value}}, f"{IDS}/crm~1a", says)


def states(*names: Any) -> list[dict[str, Any]]:
    return [{NAME: name} for name in names]


def endpoint(event_type: str) -> Operation:
    return SESSIONS if event_type == "sessionStart" else EVENTS


def right_value(key: Key) -> Any:
    values = {"string": "mute", "number": 1, "integer": 1, "boolean": False, "object": {}, "array": states("mute")}
    return key.values[0] if key.values else values[key.type]


FIRES = [
    *(
        fires("params-missing", sent(type, drop="params"), "", f"params is missing; {type} needs it", to=endpoint(type))
        for type in PARAMS
    ),
    fires("params-missing", encoded([valid("sessionStart", drop="params")]), "/0", "params is missing", to=DOWNLOADED),
    fires("params-type", encoded(valid() | {"params": None}), "/params", "params is null"),
    fires("params-type", encoded(valid() | {"params": []}), "/params", "params is an array; expected an object"),
    fires("params-type", encoded(valid() | {"params": "{}"}), "/params", "params is the string '{}'"),
    fires("params-type", encoded(valid() | {"params": 0}), "/params", "params is the number 0"),
    fires("params-type", encoded(valid("adStart") | {"params": False}), "/params", "params is false"),
    *(
        fires(
            "param-missing",
            sent(key_type, without=name),
            "/params",
            f"{name} is missing; {key_type} needs it",
            to=endpoint(key_type),
        )
        for name, key in protocol.PARAMS.items()
        for key_type in sorted(key.required)
    ),
    fires(
        "param-missing", sent("statesUpdate", {"statesEnd": [{NAME: "mute"}, {}]}), "/params/statesEnd/1", "is missing"
    ),
    fires("param-missing", sent("statesUpdate", {"statesStart": [{}]}), "/params/statesStart/0", f"{NAME} is missing"),
    fires(
        "param-missing",
        sent("statesUpdate", {"statesStart": [{"name": "mute"}]}),
        "/params/statesStart/0",
        f"{NAME} is missing",
        beside="param-unknown",
    ),
    *(
        fires(
            "param-type",
            sent(type := min(key.events, key=list(protocol.EVENTS).index), {name: value}),
            places(name),
            f"{name} is ",
            to=endpoint(type),
            beside="error-details-in-params"
            if type == "error"
            else "states-update-empty"
            if name == "statesStart" and not value
            else "",
        )
        for name, key in protocol.PARAMS.items()
        for value in WRONG[key.type]
    ),
    on_start("param-type", {"media.length": "3600"}, "media.length", "is the string '3600'; expected a number"),
    on_start("param-type", {"media.season": 2}, "media.season", "is the number 2; expected a string"),
    on_start("param-type", {"media.pass.auth": True}, "media.pass.auth", "is true; expected a string"),
    on_start("param-type", {"visitor.aamLocationHint": None}, "visitor.aamLocationHint", "null; expected an integer"),
    on_start("param-type", {"media.resume": "\0\ud83c"}, "media.resume", r"'\x00\ud83c'; expected a boolean"),
    on_start("param-type", {"media.name": as_written(LONG)}, "media.name", "9…; expected a string"),
    on_start("param-type", {"media.name": 10**3_000}, "media.name", "(very long); expected a string"),
    on_start("param-type", {IDS: []}, IDS, f"{IDS} is an array; expected an object"),
    fires("param-type", sent("play", {"media.length": "1"}), places("media.length"), "", beside="param-not-on-event"),
    fires(
        "param-type",
        sent("statesUpdate", {"statesStart": ["mute"]}),
        "/params/statesStart/0",
        f"statesStart has the string 'mute'; expected an object with {NAME}",
    ),
    fires(
        "param-type",
        sent("statesUpdate", {"statesEnd": states("mute", 7)}),
        f"/params/statesEnd/1/{NAME}",
        f"{NAME} is the number 7; expected a string",
    ),
    on_start("param-unknown", {"media.chanel": "x"}, "media.chanel", "'media.chanel' is unknown; did you mean"),
    on_start("param-unknown", {"media.newKey": None}, "media.newKey", "param 'media.newKey' is unknown"),
    on_start("param-unknown", {"": 1}, "", "param '' is unknown"),
    on_start("param-unknown", {"a/~\0\ud83c\n": 1}, "a~1~0\0\ud83c\n", r"param 'a/~\x00\ud83c\n' is unknown"),
    on_start("param-unknown", {"x" * 5_000: 1}, "x" * 5_000, "x…' is unknown"),
    on_start("param-unknown", {"Media.Qoe.bitrate": 1}, "Media.Qoe.bitrate", "'Media.Qoe.bitrate' is unknown"),
    on_start("param-unknown", {"media.qoe": 1}, "media.qoe", "'media.qoe' is unknown"),
    fires(
        "param-unknown", sent("play", {"media.stateName": "x"}), places("media.stateName"), "did you mean media.state"
    ),
    fires(
        "param-unknown",
        sent("watch", {"media.newKey": 1}),
        places("media.newKey"),
        "unknown",
        beside="event-type-unknown",
    ),
    fires(
        "param-unknown",
        sent("statesUpdate", {"statesStart": [{NAME: "mute", "since/": 1}]}),
        "/params/statesStart/0/since~1",
        f"statesStart has the member 'since/'; expected only {NAME}",
    ),
    on_start("param-case", {"media.Name": "x"}, "media.Name", "'media.Name' is unknown; expected media.name"),
    on_start("param-case", {"visitor.customerIds": {}}, "visitor.customerIds", "expected visitor.customerIDs"),
    on_start("param-case", {"MEDIA.RESUME": 7}, "MEDIA.RESUME", "expected media.resume"),
    fires(
        "param-case",
        sent("sessionStart", {"media.ID": "x"}, without="media.id"),
        places("media.ID"),
        "expected media.id",
        to=SESSIONS,
        beside="param-missing",
    ),
    fires(
        "param-case",
        sent("adStart", {"media.ad.creativeUrl": "x"}),
        places("media.ad.creativeUrl"),
        "expected media.ad.creativeURL",
    ),
    fires("param-case", sent("play", {"media.Length": 1}), places("media.Length"), "expected media.length"),
    fires(
        "param-not-on-event",
        sent("play", {"media.length": 3600}),
        places("media.length"),
        "media.length does not belong on play, but on sessionStart",
    ),
    fires(
        "param-not-on-event",
        sent("chapterStart", {"media.ad.podFriendlyName": "Pre-roll"}),
        places("media.ad.podFriendlyName"),
        "but on adBreakStart, adStart",
    ),
    on_start("param-not-on-event", {"media.ad.id": "ad-17"}, "media.ad.id", "on sessionStart, but on adStart"),
    fires("param-not-on-event", sent("play", {"media.errorId": "1"}), places("media.errorId"), "on play, but on error"),
    fires("param-not-on-event", sent("stateEnd", {"statesEnd": []}), places("statesEnd"), "but on statesUpdate"),
    fires(
        "param-not-on-event", sent("statesUpdate", {NAME: "no name"}), places(NAME), "on statesUpdate, but on stateEnd"
    ),
    on_start("param-value", {"media.streamType": "Video"}, "media.streamType", "'Video'; expected video or audio"),
    on_start("param-value", {"media.streamType": ""}, "media.streamType", "''; expected video or audio"),
    on_start("param-value", {"media.streamType": "\ud83c"}, "media.streamType", r"'\ud83c'; expected video"),
    on_start("param-value", {"media.length": -1}, "media.length", "media.length is -1; expected 0 or more"),
    on_start("param-value", {"media.length": as_written("-1e-9")}, "media.length", "is -1e-9; expected 0 or more"),
    on_start("param-value", {"media.length": as_written("-" + LONG)}, "media.length", "9…; expected 0 or more"),
    on_start("param-value", {"media.length": -(10**3_000)}, "media.length", "(very long); expected 0 or more"),
    *(
        fires("param-value", sent(type, {name: -0.5}), places(name), f"{name} is -0.5; expected 0 or more")
        for type, name in [
            ("adBreakStart", "media.ad.podSecond"),
            ("adStart", "media.ad.length"),
            ("chapterStart", "media.chapter.offset"),
            ("chapterStart", "media.chapter.length"),
        ]
    ),
    *(
        on_start("param-empty", {name: blank}, name, f"{name} is the string ")
        for name, key in protocol.PARAMS.items()
        if "sessionStart" in key.required and key.type == "string"
        for blank in ("", " \t\n\u00a0")
    ),
    *(
        on_start("param-value", {"media.showType": kind}, "media.showType", "expected 0 or 1 or 2 or 3")
        for kind in ["4", "", "clip"]
    ),
    *(
        on_start("placeholder-value", {name: value}, name, f"{name} is the string {value!r}; expected a real value")
        for name, value in [
            ("media.id", "N/A"),
            ("media.id", "n/a"),
            ("media.name", " undefined "),
            ("media.channel", "Unknown"),
            ("media.playerName", "[object Object]"),
            ("analytics.reportSuite", "<your report suite>"),
            ("analytics.trackingServer", "{{server}}"),
            ("analytics.visitorId", "user-${id}"),
            ("analytics.aid", "NULL"),
            ("visitor.marketingCloudOrgId", "none"),
            ("visitor.marketingCloudUserId", "NaN"),
        ]
    ),
    on_start(
        "placeholder-value",
        {IDS: {"crm/a": {"id": "null", "authState": 0}}},
        f"{IDS}/crm~1a/id",
        "the ID 'crm/a' is the string 'null'",
    ),
    fires("param-empty", sent("adStart", {"media.ad.id": ""}), places("media.ad.id"), "''; expected some text"),
    fires("param-empty", sent("adStart", {"media.ad.playerName": " "}), places("media.ad.playerName"), "' '"),
    customer("customer-ids-shape", "4711", "customer ID 'crm/a': it is the string '4711'; expected an object"),
    customer("customer-ids-shape", None, "it is null; expected an object"),
    customer("customer-ids-shape", [], "it is an array; expected an object"),
    customer("customer-ids-shape", {"authState": 1}, "id is missing; expected a string"),
    customer("customer-ids-shape", {"id": 4711, "authState": 1}, "id is the number 4711; expected a string"),
    customer("customer-ids-shape", {"id": None, "authState": 1}, "id is null; expected a string"),
    customer("customer-ids-shape", {"id": "7"}, "authState is missing; expected 0, 1 or 2"),
    customer("customer-ids-shape", {"id": "7", "authState": "1"}, "authState is the string '1'"),
    customer("customer-ids-shape", {"id": "7", "authState": True}, "authState is true; expected 0, 1 or 2"),
    customer("customer-ids-shape", {"id": "7", "authState": None}, "authState is null; expected 0, 1 or 2"),
    customer("customer-ids-shape", {"id": "7", "authState": 3}, "authState is the number 3"),
    customer("customer-ids-shape", {"id": "7", "authState": -1}, "authState is the number -1"),
    customer("customer-ids-shape", {"id": "7", "authState": 1.5}, "authState is the number 1.5"),
    customer("customer-ids-shape", {"id": "7", "authState": as_written(LONG)}, "authState is the number 999"),
    customer(
        "customer-ids-shape", {"id": "7", "authState": 1, "ID": "7"}, "it has the member 'ID'; expected only id and"
    ),
    on_start("customer-ids-shape", {IDS: {"\ud83c\0": 1}}, f"{IDS}/\ud83c\0", r"customer ID '\ud83c\x00'"),
    on_start("param-legacy", {"media.uniqueTimePlayed": 5}, "media.uniqueTimePlayed", "the documents of 2018"),
    fires(
        "param-legacy",
        sent("sessionEnd", {"media.uniqueTimePlayed": 1740.5}),
        places("media.uniqueTimePlayed"),
        "media.uniqueTimePlayed is only known from",
    ),
    on_start("qoe-in-params", {"media.qoe.bitrate": 4500}, "media.qoe.bitrate", "is in params; expected it in qoeData"),
    fires(
        "qoe-in-params",
        sent("bitrateChange", {"media.qoe.x": None}),
        places("media.qoe.x"),
        "'media.qoe.x' is in params",
    ),
    fires("qoe-in-params", sent("play", {"media.qoe.": 1}), places("media.qoe."), "'media.qoe.' is in params"),
    fires(
        "error-details-in-params",
        sent("error", {"media.errorId": "4012"}),
        places("media.errorId"),
        "media.errorId is in params; expected media.qoe.errorID in qoeData",
    ),
    fires(
        "error-details-in-params",
        sent("error", {"media.errorSource": "player"}, drop="qoeData"),
        places("media.errorSource"),
        "media.errorSource is in params; expected media.qoe.errorSource in qoeData",
    ),
    fires(
        "error-details-in-params",
        sent("error", {"media.errorSource": "sdk"}),
        places("media.errorSource"),
        "is in params",
    ),
    fires("ping-has-params", sent("ping", {"media.name": "A film"}), "/params", "('media.name'); expected none"),
    fires(
        "ping-has-params",
        sent("ping", dict.fromkeys(["media.name", "media.show", "media.feed", "media.label"], "x")),
        "/params",
        "('media.name', 'media.show', 'media.feed' …); expected none",
    ),
    fires("ping-has-params", sent("ping", {"\n\ud83c": 1}), "/params", r"'\n\ud83c'", beside="param-unknown"),
    fires("ping-empty-params", sent("ping", {}), "/params", "ping has an empty params object; expected none"),
    fires(
        "stream-type-missing",
        sent("sessionStart", without="media.streamType"),
        "/params",
        "expected video",
        to=SESSIONS,
    ),
    fires(
        "stream-type-missing",
        encoded([valid("sessionStart", without="media.streamType")]),
        "/0/params",
        "media.streamType is missing; expected video or audio",
        to=DOWNLOADED,
    ),
    *(
        fires("state-name-pattern", sent(type, {NAME: name}), places(NAME), "expected 1 to 64 letters")
        for type in ("stateStart", "stateEnd")
        for name in ("", " ", "a b", "a-b", "mute\n", "stumm_\u00e4", "\uff41", "\ud83c", "\0", "x" * 65)
    ),
    fires(
        "state-name-pattern",
        sent("statesUpdate", {"statesStart": states("mute"), "statesEnd": states("inFocus", "a/b")}),
        f"/params/statesEnd/1/{NAME}",
        "state name 'a/b'; expected 1 to 64 letters, digits, underscores or dots",
    ),
    fires(
        "state-name-nonstandard", sent("stateStart", {NAME: "muted"}), places(NAME), "'muted' is not a standard state"
    ),
    fires("state-name-nonstandard", sent("stateEnd", {NAME: "fullScren"}), places(NAME), "did you mean fullScreen?"),
    fires("state-name-nonstandard", sent("stateStart", {NAME: "FULLSCREEN"}), places(NAME), "state 'FULLSCREEN'"),
    fires("state-name-nonstandard", sent("stateStart", {NAME: "x" * 64}), places(NAME), "not a standard state"),
    fires(
        "state-name-nonstandard",
        sent("statesUpdate", {"statesEnd": states("app.zoom_2")}),
        f"/params/statesEnd/0/{NAME}",
        "state 'app.zoom_2' is not a standard state",
    ),
    *(
        fires(
            "states-update-empty",
            encoded(valid("statesUpdate") | {"params": value}),
            "/params",
            "neither starts nor ends",
        )
        for value in NO_STATES
    ),
    on_start("downloaded-flag-on-live", {"media.downloaded": True}, "media.downloaded", "is sent as an array"),
]

NEAR = [
    *(silent("params-missing", sent(type, params), to=endpoint(type)) for type, params in PARAMS.items()),
    *(silent("params-missing", sent(type)) for type in protocol.EVENT_TYPES if type not in PARAMS),
    silent("params-missing", encoded(valid("chapterStart") | {"params": {}}), beside="param-missing"),
    silent("params-missing", encoded(valid("chapterStart") | {"params": None}), beside="params-type"),
    silent("params-missing", sent("adbreakstart"), beside="event-type-unknown"),
    silent("params-type", sent("play", {})),
    silent("params-type", sent("sessionStart", drop="params"), to=SESSIONS, beside="params-missing"),
    fine_on_start("param-missing", {"media.id": ""}, beside="param-empty"),
    fine_on_start("param-missing", {"media.id": None}, beside="param-type"),
    silent("param-missing", sent("statesUpdate", {"statesEnd": []})),
    silent("param-missing", sent("statesUpdate", {"statesEnd": [None]}), beside="param-type"),
    silent("param-missing", sent("adStart", drop="params"), beside="params-missing"),
    silent("param-missing", encoded([valid("sessionStart", {"media.downloaded": True})]), to=DOWNLOADED),
    silent("param-missing", sent("adBreakStart", {"media.ad.podIndex": -1})),
    fine_on_start("param-type", {"media.length": as_written("60.39333333333333")}),
    fine_on_start("param-type", {"media.length": 2**63}),
    fine_on_start("param-type", {"media.length": as_written("1e999")}),
    fine_on_start("param-type", {"media.resume": False, "analytics.enableSSL": True}),
    fine_on_start("param-type", {"visitor.aamLocationHint": 7}),
    fine_on_start("param-type", {"visitor.aamLocationHint": as_written("7.0")}, beside="integer-as-float"),
    fine_on_start("param-type", {"visitor.aamLocationHint": -(2**70)}),
    fine_on_start("param-type", {"media.showType": "0", "media.pass.auth": "TRUE", "media.season": ""}),
    fine_on_start("param-type", {"media.name": "\0 \ud83c \u2028"}),
    fine_on_start("param-type", {"media.newKey": None}, beside="param-unknown"),
    *(
        silent("param-unknown", sent(type, {key.name: right_value(key)}), to=endpoint(type))
        for key in protocol.PARAMS.values()
        for type in sorted(key.events)
        if not key.legacy and type != "error"
    ),
    fine_on_start("param-unknown", {"media.qoe.anything": 1}, beside="qoe-in-params"),
    fine_on_start("param-unknown", {"media.NAME": "x"}, beside="param-case"),
    silent("param-unknown", sent("play", {"media.name": "x"}), beside="param-not-on-event"),
    silent("param-unknown", sent("play", customMetadata={"chanel": "x"}), beside="custom-metadata-not-on-event"),
    fine_on_start("param-case", {"media.chanel": "x"}, beside="param-unknown"),
    fine_on_start("param-case", {"media.name ": "x"}, beside="param-unknown"),
    silent("param-case", sent("adStart", {"media.ad.creativeURL": "x"})),
    silent("param-case", sent("play", {"media.Qoe.bitrate": 1}), beside="param-unknown"),
    silent("param-not-on-event", sent("adStart", {"media.ad.podFriendlyName": "Pre-roll"})),
    silent("param-not-on-event", sent("ping", {"media.name": "x"}), beside="ping-has-params"),
    silent("param-not-on-event", sent("watch", {"media.name": "x"}), beside="event-type-unknown"),
    silent("param-not-on-event", sent("play", {"media.newKey": "x"}), beside="param-unknown"),
    silent("param-not-on-event", sent("sessionComplete", {})),
    fine_on_start("param-value", {"media.streamType": "audio", "media.length": 0}),
    fine_on_start("param-value", {"media.length": as_written("-0.0")}),
    fine_on_start("param-value", {"media.length": "-1"}, beside="param-type"),
    fine_on_start("param-value", {"media.streamType": None}, beside="param-type"),
    fine_on_start("param-value", {"media.contentType": "Anything", "media.showType": "3"}),
    fine_on_start("param-value", {"media.showType": 4}, beside="param-type"),
    silent("param-value", sent("adBreakStart", {"media.ad.podIndex": -1, "media.ad.podSecond": 0})),
    silent("param-value", sent("adStart", {"media.ad.length": 0, "media.ad.podPosition": -3})),
    silent("param-value", sent("chapterStart", {"media.chapter.index": -1, "media.chapter.offset": 0})),
    silent("param-value", sent("error", {"media.errorSource": "sdk"}), beside="error-details-in-params"),
    fine_on_start("placeholder-value", {"media.show": "N/A", "media.assetId": "undefined"}),
    fine_on_start("placeholder-value", {"media.name": "Nonesuch", "media.id": "unknown-1", "media.channel": "<3"}),
    fine_on_start("placeholder-value", {"media.name": "none of us", "media.id": "{2}", "analytics.aid": "$1"}),
    fine_on_start("placeholder-value", {"analytics.visitorId": "x" * 200 + "${id}"}),
    fine_on_start("placeholder-value", {"media.name": ""}),
    fine_on_start("placeholder-value", {"media.id": None}, beside="param-type"),
    fine_on_start(
        "placeholder-value", {IDS: {"crm": {"id": "4711", "authState": 1}, "N/A": {"id": "7", "authState": 0}}}
    ),
    silent("placeholder-value", sent("adStart", {"media.ad.id": "N/A"})),
    fine_on_start("param-empty", {"media.name": "", "media.show": " "}),
    fine_on_start("param-empty", {"media.channel": "."}),
    fine_on_start("param-empty", {"media.channel": "\0"}),
    fine_on_start("param-empty", {"media.channel": []}, beside="param-type"),
    silent("param-empty", sent("sessionStart", without="media.channel"), to=SESSIONS, beside="param-missing"),
    silent("param-empty", sent("stateStart", {NAME: ""}), beside="state-name-pattern"),
    silent("param-empty", sent("adStart", {"media.ad.name": ""})),
    fine_on_start("customer-ids-shape", {IDS: {}}),
    fine_on_start("customer-ids-shape", {IDS: {str(n): {"authState": n, "id": ""} for n in (0, 1, 2)}}),
    fine_on_start("customer-ids-shape", {IDS: {"": {"id": "\ud83c", "authState": as_written("1.0")}}}),
    fine_on_start("customer-ids-shape", {IDS: []}, beside="param-type"),
    fine_on_start("customer-ids-shape", {"visitor.CustomerIDs": {"a": 1}}, beside="param-case"),
    fine_on_start("param-legacy", {"media.uniquetimeplayed": 5}, beside="param-case"),
    silent("param-legacy", sent("sessionEnd", {"media.timePlayed": 5}), beside="param-unknown"),
    silent("qoe-in-params", sent("bitrateChange", qoeData={"media.qoe.bitrate": 4500})),
    silent("qoe-in-params", sent("play", {"media.qoebitrate": 1}), beside="param-unknown"),
    silent("error-details-in-params", sent("error", {})),
    silent("error-details-in-params", sent("play", {"media.errorId": "1"}), beside="param-not-on-event"),
    silent("error-details-in-params", sent("error", {"media.errorID": "1"}), beside="param-case"),
    silent("ping-has-params", sent("ping", {}), beside="ping-empty-params"),
    silent("ping-has-params", sent("ping", qoeData={"media.qoe.bitrate": 1})),
    silent("ping-has-params", encoded(valid("ping") | {"params": ["x"]}), beside="params-type"),
    silent("ping-has-params", sent("Ping", {"media.name": "x"}), beside="event-type-unknown"),
    silent("ping-empty-params", sent("ping")),
    silent("ping-empty-params", encoded(valid("ping") | {"params": None}), beside="params-type"),
    silent("ping-empty-params", sent("play", {})),
    fine_on_start("stream-type-missing", {"media.streamType": None}, beside="param-type"),
    silent("stream-type-missing", sent("sessionStart", drop="params"), to=SESSIONS, beside="params-missing"),
    silent("stream-type-missing", sent("play", {})),
    *(
        silent("state-name-pattern", sent("stateStart", {NAME: name}), beside="state-name-nonstandard")
        for name in (".", "_", "0", "x" * 64, "a.b_C9")
    ),
    silent("state-name-pattern", sent("stateStart", {NAME: 7}), beside="param-type"),
    silent("state-name-pattern", sent("play", {NAME: "a b"}), beside="param-not-on-event"),
    silent("state-name-pattern", sent("statesUpdate", {"statesEnd": ["a b"]}), beside="param-type"),
    *(silent("state-name-nonstandard", sent("stateStart", {NAME: name})) for name in sorted(protocol.STANDARD_STATES)),
    silent("state-name-nonstandard", sent("stateStart", {NAME: "full screen"}), beside="state-name-pattern"),
    silent("state-name-nonstandard", sent("statesUpdate", {"statesEnd": states(*sorted(protocol.STANDARD_STATES))})),
    silent("states-update-empty", sent("statesUpdate", {"statesStart": [], "statesEnd": states("mute")})),
    silent("states-update-empty", sent("statesUpdate", {"statesStart": [0]}), beside="param-type"),
    silent("states-update-empty", sent("statesUpdate", drop="params"), beside="params-missing"),
    silent("states-update-empty", sent("stateStart", {"statesStart": []}), beside="param-not-on-event"),
    fine_on_start("downloaded-flag-on-live", {"media.downloaded": False}),
    silent(
        "downloaded-flag-on-live",
        sent("play", {"media.downloaded": True}),
        to=SESSIONS,
        beside="event-on-sessions param-not-on-event",
    ),
    fine_on_start("downloaded-flag-on-live", {"media.downloaded": "true"}, beside="param-type"),
    fine_on_start("downloaded-flag-on-live", {"media.downloaded": 1}, beside="param-type"),
    silent(
        "downloaded-flag-on-live",
        encoded([valid("sessionStart", {"media.downloaded": True})]),
        to=SESSIONS,
        beside="downloads-via-sessions",
    ),
    silent("downloaded-flag-on-live", encoded([valid("sessionStart", {"media.downloaded": True})]), to=DOWNLOADED),
]


@pytest.mark.parametrize("case", FIRES, ids=str)
def test_what_breaks_a_rule_is_found(case: Case):
    check_fires(case)


@pytest.mark.parametrize("case", NEAR, ids=str)
def test_what_nearly_breaks_a_rule_is_not(case: Case):
    check_silent(case)


@pytest.mark.one_version
@pytest.mark.parametrize("case", FIRES, ids=str)
def test_where_upstream_took_the_request_what_rests_on_a_schema_is_info(case: Case):
    check_lowered(case, LOWERED)


def test_every_rule_has_a_body_that_breaks_it_and_one_that_nearly_does():
    assert named(FIRES) == named(NEAR) == rules_of(params)


def test_all_that_is_wrong_with_one_event_is_told_in_the_order_of_the_rules():
    changes = {
        "media.length": "3600",
        "media.chanel": "x",
        "media.Name": "x",
        "media.ad.id": "",
        "media.streamType": "film",
        "media.downloaded": True,
    }
    findings = judge_body(sent("sessionStart", changes, without="media.id"), SESSIONS)
    assert [(finding.rule, finding.pointer) for finding in findings] == [
        ("param-missing", "/params"),
        ("param-type", "/params/media.length"),
        ("param-unknown", "/params/media.chanel"),
        ("param-case", "/params/media.Name"),
        ("param-not-on-event", "/params/media.ad.id"),
        ("param-value", "/params/media.streamType"),
        ("param-empty", "/params/media.ad.id"),
        ("downloaded-flag-on-live", "/params/media.downloaded"),
    ]


def test_each_missing_param_is_told_by_itself():
    findings = judge_body(encoded(valid("sessionStart") | {"params": {"media.streamType": "video"}}), SESSIONS)
    assert {finding.rule for finding in findings} == {"param-missing"}
    assert {finding.message.split(" is missing")[0] for finding in findings} == {
        name for name, key in protocol.PARAMS.items() if "sessionStart" in key.required
    }


@pytest.mark.parametrize("text", ["1.5e+00000000000000000000300", "1.5E+300", "15e299", "1.5e00300"])
def test_how_an_exponent_is_written_does_not_make_an_integer_a_fraction(text: str):
    findings = judge_body(sent("sessionStart", {"visitor.aamLocationHint": as_written(text)}), SESSIONS)
    assert [finding.rule for finding in findings] == ["integer-as-float"]


def test_params_of_the_settings_are_allowed_where_they_say():
    vocabulary = Vocabulary(
        (
            Key(name="acme.zone", type="integer"),
            Key(name="acme.title", type="string", events=frozenset({"sessionStart"})),
        )
    )
    body = encoded(
        [
            valid("sessionStart", {"acme.zone": 1, "acme.title": "x"}),
            valid("play", {"acme.zone": "1", "acme.title": "x", "acme.Zone": 1, "acme.zon": 1}),
        ]
    )
    findings = judge_body(body, DOWNLOADED, vocabulary=vocabulary)
    assert [(finding.rule, finding.pointer) for finding in findings] == [
        ("param-type", "/1/params/acme.zone"),
        ("param-unknown", "/1/params/acme.zon"),
        ("param-case", "/1/params/acme.Zone"),
        ("param-not-on-event", "/1/params/acme.title"),
    ]
    assert [finding.rule for finding in judge_body(body, DOWNLOADED) if finding.pointer == "/0/params/acme.zone"] == [
        "param-unknown"
    ]


# What clients really send (none of it is an error or a warning)


@pytest.mark.parametrize(
    "changes",
    [
        {"media.libraryVersion": "js-3.1.0", "media.channel": "Sports"},
        {"media.libraryVersion": "android-media-3.1.2", "media.downloaded": False, "analytics.enableSSL": True},
        {"visitor.marketingCloudUserId": "7", "visitor.aamLocationHint": 9, IDS: {"x": {"id": "y", "authState": 0}}},
        {"media.pass.auth": "true", "media.artist": "a", "media.station": "s", "media.publisher": "p"},
        {"media.resume": False, "media.length": 86_400, "media.contentType": "live"},
        {"analytics.reportSuite": "one,two", "appInstallationId": "i", "analytics.optOutShare": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_starts_of_sdks_are_valid(changes: dict[str, Any]):
    assert judge_body(sent("sessionStart", changes), SESSIONS) == []


def test_a_start_of_ios_without_channel_and_player_lacks_required_params():
    body = sent("sessionStart", {"media.libraryVersion": "ios-media-5.0.1"}, without="media.channel media.playerName")
    assert [finding.rule for finding in judge_body(body, SESSIONS)] == ["param-missing"] * 2


def test_the_shortest_start_of_the_documents_is_valid():
    optional = {name for name in START_PARAMS if "sessionStart" not in protocol.PARAMS[name].required}
    body = sent("sessionStart", without=" ".join(optional), playerTime={"playhead": 0, "ts": BEGIN_MS})
    assert [finding.rule for finding in judge_body(body, SESSIONS)] == ["stream-type-missing"]
