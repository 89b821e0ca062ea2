from __future__ import annotations

import gzip
import itertools
import json
from typing import Any

import pytest

from proxy_addon.collector.answers import Answer, Sessions, answer
from proxy_addon.core.exchange import header
from proxy_addon.core.protocol import CORS, EVENT_TYPES, PARAMS_REQUIRED
from tests.builders import START_PARAMS, body, event_dict, request

START = body(event_dict("sessionStart"))
DOWNLOADED = [event_dict("sessionStart", params={**START_PARAMS, "media.downloaded": True}), event_dict("sessionEnd")]


class Asked:
    """A back end that gives the IDs id1, id2, id3 and so on."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self._ids = (f"id{number}" for number in itertools.count(1))

    def __call__(self, method: str, path: str, sent: bytes = b"") -> Answer:
        return answer(request(method, path, body=sent), self.sessions, lambda: next(self._ids))

    def event(self, event_type: str, session_id: str = "id1") -> int:
        return self("POST", f"/api/v1/sessions/{session_id}/events", body(event_dict(event_type))).response.status

    def status(self, method: str, path: str, sent: bytes = b"") -> int:
        return self(method, path, sent).response.status


@pytest.fixture
def asked() -> Asked:
    return Asked()


def message_of(given: Answer) -> Any:
    assert header(given.response.headers, "content-type") == "application/json"
    document = json.loads(given.response.body)
    assert list(document) == ["message"]
    return document["message"]


def test_a_start_is_answered_with_a_location_and_no_body(asked):
    given = asked("POST", "/api/v1/sessions", START)

    assert (given.response.status, given.response.body, given.session_id) == (201, b"", "id1")
    assert header(given.response.headers, "location") == "/api/v1/sessions/id1"
    assert header(given.response.headers, "content-type") == "application/octet-stream"
    assert header(given.response.headers, "content-length") == "0"


@pytest.mark.parametrize("prefix", ["/tv", "/a/b", "http://player.example", "/api/v1/x"])
def test_a_prefix_is_accepted_and_not_in_the_location(asked, prefix):
    given = asked("POST", f"{prefix}/api/v1/sessions", START)

    assert header(given.response.headers, "location") == "/api/v1/sessions/id1"
    assert asked.status("POST", f"{prefix}/api/v1/sessions/id1/events", body(event_dict("play"))) == 204


def test_each_start_has_an_id_of_its_own(asked):
    assert [asked("POST", "/api/v1/sessions", START).session_id for _ in range(3)] == ["id1", "id2", "id3"]


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", "/api/v1/sessions", START),
        ("POST", "/api/v1/sessions", b""),
        ("POST", "/api/v1/sessions/nobody/events", b""),
        ("POST", "/api/v1/downloaded", body(DOWNLOADED)),
        ("GET", "/api/v1/schemas/play", b""),
        ("GET", "/api/v1/schemas/pause", b""),
        ("OPTIONS", "/api/v1/sessions", b""),
        ("OPTIONS", "/api/v1/sessions/nobody/events", b""),
        ("OPTIONS", "/api/v1/downloaded", b""),
        ("OPTIONS", "/api/v1/schemas/play", b""),
        ("PUT", "/api/v1/sessions", b""),
        ("GET", "/", b""),
    ],
)
def test_every_answer_lets_browsers_read_it(asked, method, path, sent):
    assert set(CORS) <= set(asked(method, path, sent).response.headers)


def test_a_preflight_is_answered_without_a_body(asked):
    given = asked("OPTIONS", "/api/v1/sessions/nobody/events")

    assert (given.response.status, given.response.body) == (204, b"")


def test_events_of_an_open_session_are_taken(asked):
    asked("POST", "/api/v1/sessions", START)

    assert [asked.event(name) for name in ("play", "ping", "sessionComplete", "ping", "sessionEnd")] == [204] * 5


def test_an_unknown_session_is_not_found(asked):
    given = asked("POST", "/api/v1/sessions/nobody/events", body(event_dict("play")))

    assert given.response.status == 404
    assert message_of(given) == "session nobody is unknown"


def test_a_closed_session_takes_its_end_again_and_nothing_else(asked):
    asked("POST", "/api/v1/sessions", START)

    assert asked.event("sessionEnd") == 204
    assert [asked.event(name) for name in ("sessionEnd", "ping", "sessionEnd", "sessionComplete")] == [
        204,
        410,
        204,
        410,
    ]
    assert asked.status("POST", "/api/v1/sessions/id1/events", b"garbage") == 410


def test_a_refused_end_closes_nothing(asked):
    asked("POST", "/api/v1/sessions", START)
    refused = event_dict("sessionEnd", playhead=None)

    assert asked.status("POST", "/api/v1/sessions/id1/events", body(refused)) == 400
    assert asked.event("ping") == 204


def test_the_end_of_one_session_is_none_of_another(asked):
    asked("POST", "/api/v1/sessions", START)
    asked("POST", "/api/v1/sessions", START)
    asked.event("sessionEnd", "id1")

    assert asked.event("ping", "id2") == 204


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"", "the body is empty"),
        (b" \r\n", "the body is empty"),
        (b"{", "not JSON: "),
        (START + START, "not JSON: "),
        (b"[" * 100_000, "not JSON: "),
        (b'{"a": NaN}', "not JSON: NaN"),
        (gzip.compress(START, mtime=0), "not JSON: invalid UTF-8"),
        (b"\x00" * 10, "not JSON: "),
        (b"[]", "the array is empty"),
        (b"{}", "eventType is missing"),
        (body(event_dict("play")), "play was posted to /api/v1/sessions"),
    ],
)
def test_a_start_that_is_none_is_refused_with_a_message(asked, sent, says):
    given = asked("POST", "/api/v1/sessions", sent)

    assert (given.response.status, given.session_id) == (400, None)
    assert message_of(given).startswith(says)


@pytest.mark.parametrize("sent", [b"", b"[]", START, b'{"eventType": "\\ud83c"}', body([event_dict("play")])])
def test_an_event_that_is_none_is_refused_with_a_message(asked, sent):
    asked("POST", "/api/v1/sessions", START)
    given = asked("POST", "/api/v1/sessions/id1/events", sent)

    assert given.response.status == 400
    assert message_of(given)


def test_half_a_surrogate_pair_and_nul_in_a_value_are_fine(asked):
    params = {**START_PARAMS, "media.name": "cut \ud83c\u0000"}

    assert asked.status("POST", "/api/v1/sessions", body(event_dict("sessionStart", params=params))) == 201


@pytest.mark.parametrize("path", ["/api/v1/downloaded", "/api/v1/downloads", "/api/v1/sessions"])
def test_a_batch_is_created_without_a_location(asked, path):
    given = asked("POST", path, body(DOWNLOADED))

    assert (given.response.status, given.session_id) == (201, None)
    assert header(given.response.headers, "location") is None


def test_a_batch_needs_the_flag_on_the_deprecated_path_alone(asked):
    batch = body([event_dict("sessionStart"), event_dict("play")])

    assert asked.status("POST", "/api/v1/downloaded", batch) == 201
    assert asked.status("POST", "/api/v1/sessions", batch) == 400


def test_a_single_event_is_no_downloaded_playback(asked):
    assert asked.status("POST", "/api/v1/downloaded", START) == 400


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_event_type_has_a_schema(asked, event_type):
    given = asked("GET", f"/api/v1/schemas/{event_type}")
    schema = json.loads(given.response.body)

    assert given.response.status == 200
    assert header(given.response.headers, "content-type") == "application/json"
    assert schema["$schema"] == "http://json-schema.org/draft-04/schema#"
    assert schema["$ref"] == f"#/definitions/{event_type}"
    assert ("params" in schema["definitions"][event_type]["required"]) == (event_type in PARAMS_REQUIRED)


def test_an_unknown_event_type_has_no_schema(asked):
    given = asked("GET", "/api/v1/schemas/pause")

    assert given.response.status == 404
    assert message_of(given) == "there is no event type 'pause'"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/v1/sessions", "POST, OPTIONS"),
        ("PUT", "/api/v1/sessions/nobody/events", "POST, OPTIONS"),
        ("DELETE", "/api/v1/downloaded", "POST, OPTIONS"),
        ("post", "/api/v1/sessions", "POST, OPTIONS"),
        ("POST", "/api/v1/schemas/play", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_refused_and_the_right_ones_named(asked, method, path, allowed):
    given = asked(method, path, START)

    assert given.response.status == 405
    assert header(given.response.headers, "allow") == allowed
    assert method in message_of(given)


def test_a_schema_can_be_asked_for_its_head(asked):
    assert asked.status("HEAD", "/api/v1/schemas/play") == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/favicon.ico", "/api/v2/sessions", "/api/v1/sessions/", "/api/v1/nothing", "/api/v1/id1/events", "*"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_any_other_path_is_not_found(asked, method, path):
    given = asked(method, path, START)

    assert given.response.status == 404
    assert path in message_of(given)


def test_a_query_does_not_matter(asked):
    assert asked.status("POST", "/api/v1/sessions?debug=1", START) == 201
