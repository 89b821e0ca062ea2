"""Schemas of upstreams: read in spite of their slips, and made so that they say what the rules say."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from proxy_addon.core import protocol
from proxy_addon.core.findings import Severity
from proxy_addon.core.judging.exchanges import judge_body
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.core.schemas import read_schema, schema_of
from proxy_addon.errors import ProtocolError
from tests import sdk_traffic
from tests.builders import START_PARAMS, body, event_dict

AUTHORITY = "schema 0123456789ab of https://upstream.example"


def published(**changes: Any) -> dict[str, Any]:
    """A schema in the shape of the one that was published, with its slips."""
    params = {
        "type": "object",
        "properties": {
            "media.id": {"type": "string"},
            "media.length": {"type": "number"},
            "media.brandNew": {"type": "integer"},
        },
        "required": ["media.id", "media.brandNew"],
        "additionalProperties": False,
    }
    definition = {
        "properties": {
            "eventType": {"type": "string", "enum": ["sessionStart"]},
            "playerTime": {"$ref": "#/definitions/playerTime"},
            "params": params | changes,
            "qoeData": {"$ref": "#/definitions/qoeData", "type": "string"},
        },
        "required": ["eventType", "playerTime", "params"],
        "additionalProperties": False,
    }
    quality = {
        "type": "object",
        "properties": {"media.qoe.bitrate": {"type": "integer"}},
        "required": [],
        "additionalProperties": False,
    }
    definitions = {
        "qoeData": quality,
        "sessionStart": definition,
        "type": "object",
        "$ref": "#/definitions/sessionStart",
    }
    return {"$schema": "http://json-schema.org/draft-04/schema#", "definitions": definitions}


def vocabulary(document: Any) -> Vocabulary:
    return Vocabulary((), {"sessionStart": read_schema(body(document), "sessionStart", AUTHORITY)})


def errors(params: dict[str, Any], document: Any, **members: Any) -> dict[str, str]:
    sent = body(event_dict("sessionStart", params=params, **members))
    found = judge_body(sent, Operation.SESSIONS, DEFAULT, vocabulary(document))
    return {finding.rule: finding.authority for finding in found if finding.severity is Severity.ERROR}


def test_a_schema_takes_the_place_of_the_table():
    assert errors({"media.id": "x", "media.brandNew": 1}, published()) == {}
    assert errors({"media.id": "x"}, published()) == {"param-missing": AUTHORITY}
    assert errors({"media.id": 7, "media.brandNew": 1}, published()) == {"param-type": AUTHORITY}
    assert errors({"media.id": "x", "media.brandNew": 1, "media.name": "y"}, published()) == {
        "param-unknown": AUTHORITY
    }


def test_members_beside_a_reference_are_ignored():
    params = {"media.id": "x", "media.brandNew": 1}
    assert errors(params, published(), qoeData={"media.qoe.bitrate": 1}) == {}
    assert errors(params, published(), qoeData={"media.qoe.errorID": "x"}) == {"qoe-key-unknown": AUTHORITY}


def test_a_schema_that_allows_other_keys_says_nothing_of_them():
    assert errors({"media.id": "x", "media.brandNew": 1, "more": 1}, published(additionalProperties=True)) == {}


def test_keys_that_match_a_pattern_are_allowed():
    params = {"media.id": "x", "media.brandNew": 1}
    own = published(patternProperties={"^own\\.[a-z]+$": {}})
    assert errors(params | {"own.key": 1}, own) == {}
    assert errors(params | {"own.Key": 1}, own) == {"param-unknown": AUTHORITY}
    assert errors(params | {"own." + "k" * 1000: 1}, own) == {"param-unknown": AUTHORITY}
    quality = published()
    quality["definitions"]["qoeData"]["patternProperties"] = {"^media\\.qoe\\.x": {}}
    assert errors(params, quality, qoeData={"media.qoe.x1": 1}) == {}
    assert errors(params, quality, qoeData={"media.qoe.y1": 1}) == {"qoe-key-unknown": AUTHORITY}


@pytest.mark.parametrize("pattern", ["(a+)+$", "(", "(?=a)", r"(a)\1", "a*a*a*a*b"])
def test_with_a_pattern_that_we_do_not_run_unknown_keys_are_not_reported(pattern):
    document = published(patternProperties={pattern: {}})
    assert errors({"media.id": "x", "media.brandNew": 1, "a" * 90: 1}, document) == {}


def test_a_schema_says_whether_params_are_needed():
    document = published()
    definition = document["definitions"].pop("sessionStart")
    document["definitions"]["ping"] = definition
    sent = body(event_dict("ping"))
    for required, found in ((["params"], {("params-missing", AUTHORITY)}), ([], set())):
        definition["required"] = ["eventType", "playerTime", *required]
        of_ping = Vocabulary((), {"ping": read_schema(body(document), "ping", AUTHORITY)})
        judged = judge_body(sent, Operation.EVENTS, DEFAULT, of_ping)
        assert {(f.rule, f.authority) for f in judged} == found


def test_params_of_the_settings_are_allowed_beside_a_schema():
    key = protocol.Key(name="media.mine", type="string", events=frozenset({"sessionStart"}))
    mine = Vocabulary((key,), {"sessionStart": read_schema(body(published()), "sessionStart", AUTHORITY)})
    sent = body(event_dict("sessionStart", params={"media.id": "x", "media.brandNew": 1, "media.mine": "y"}))
    assert [f.rule for f in judge_body(sent, Operation.SESSIONS, DEFAULT, mine) if f.severity is Severity.ERROR] == []


def test_other_event_types_keep_the_table():
    sent = body(event_dict("adBreakStart", params={}))
    found = judge_body(sent, Operation.EVENTS, DEFAULT, vocabulary(published()))
    assert {(f.rule, f.authority) for f in found} == {("param-missing", "built-in")}


@pytest.mark.parametrize(
    "document",
    [
        b"", b"no JSON", b"[]", b"{}", b'{"definitions":{}}', b'{"definitions":{"sessionStart":{}}}',
        b'{"definitions":{"sessionStart":{"properties":{"params":{"$ref":"http://elsewhere.example/x"}}}}}',
        b'{"definitions":{"a":{"$ref":"#/definitions/a"},"sessionStart":{"properties":{"params":{"$ref":"#/definitions/a"}}}}}',
    ],
)  # fmt: skip
def test_what_is_no_schema_of_the_event_is_not_used(document):
    with pytest.raises(ProtocolError):
        read_schema(document, "sessionStart", AUTHORITY)


def valid(event_type: str) -> dict[str, Any]:
    values = {"string": "x", "number": 1.5, "integer": 1, "boolean": True, "object": {}, "array": []}
    params = {key.name: values[key.type] for key in protocol.PARAMS.values() if event_type in key.required}
    return event_dict(event_type, params=params or None)


@pytest.mark.parametrize("event_type", protocol.EVENTS)
def test_our_schemas_are_draft_04_and_take_what_the_rules_take(event_type):
    document = schema_of(event_type)
    jsonschema_rs.meta.validate(document)
    validator = jsonschema_rs.Draft4Validator(document)
    endpoint = Operation.SESSIONS if event_type == "sessionStart" else Operation.EVENTS
    sent = valid(event_type) if event_type != "statesUpdate" else event_dict(event_type, params={"statesStart": []})
    assert validator.is_valid(sent)
    assert [f.rule for f in judge_body(body(sent), endpoint) if f.severity is Severity.ERROR] == []
    for change in (
        {"params": None}, {"params": {"nonsense": 1}}, {"playerTime": {"playhead": "1", "ts": 1}}, {"more": 1},
        {"playerTime": {"playhead": 0}}, {"qoeData": {"bitrate": 1}}, {"customMetadata": {"a b": "c"}},
        {"customMetadata": {"a": 1}}, {"qoeData": {"media.qoe.bitrate": "1"}}, {"playerTime": {"playhead": -1, "ts": 10**12}},
    ):  # fmt: skip
        changed = sent | change
        refused = any(f.severity is Severity.ERROR for f in judge_body(body(changed), endpoint))
        assert refused
        assert not validator.is_valid(changed)


def test_our_schemas_take_the_traffic_of_the_sdk():
    for request in sdk_traffic.load():
        if request.method == "POST":
            event = json.loads(request.body)
            assert jsonschema_rs.Draft4Validator(schema_of(event["eventType"])).is_valid(event)


def test_our_own_schema_read_back_says_what_the_table_says():
    mine = Vocabulary((), {name: read_schema(body(schema_of(name)), name, AUTHORITY) for name in protocol.EVENTS})
    for name in protocol.EVENTS:
        ours = Vocabulary().of(name)
        assert set(mine.of(name).required) == set(ours.required)
        assert (mine.of(name).listed, mine.of(name).needs_params) == (ours.listed, ours.needs_params)
        assert mine.of(name).params.keys() == ours.params.keys()
        types = [{key: of[key].type for key in of} for of in (mine.of(name).params, ours.params)]
        assert types[0] == types[1]
    ad = body(event_dict("play", params={"media.ad.id": "x", "media.ad.length": "30"}))
    found = [[f.rule for f in judge_body(ad, Operation.EVENTS, DEFAULT, v)] for v in (mine, Vocabulary())]
    assert found[0] == found[1] == ["param-type", "param-not-on-event", "param-not-on-event"]
    good = body(event_dict("sessionStart", params=START_PARAMS))
    assert judge_body(good, Operation.SESSIONS, DEFAULT, mine) == []
