from __future__ import annotations

import pytest

from proxy_addon.core.routes import Operation, Route, events_path, parse_route


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/api/v1/sessions", Operation.SESSIONS),
        ("POST", "/api/v1/sessions?x=1", Operation.SESSIONS),
        ("POST", "/api/v1/sessions/4a0f/events", Operation.EVENTS),
        ("POST", "/api/v1/sessions/4a0f/events?x=/api/v1/downloaded", Operation.EVENTS),
        ("POST", "/api/v1/downloaded", Operation.DOWNLOADED),
        ("POST", "/api/v1/downloads", Operation.DOWNLOADED),
        ("GET", "/api/v1/schemas/sessionStart", Operation.SCHEMAS),
        ("OPTIONS", "/api/v1/sessions", Operation.PREFLIGHT),
        ("OPTIONS", "/api/v1/sessions/4a0f/events", Operation.PREFLIGHT),
        ("OPTIONS", "/api/v1/downloaded", Operation.PREFLIGHT),
        ("OPTIONS", "/api/v1/schemas/play", Operation.PREFLIGHT),
    ],
)
def test_the_endpoints_of_the_protocol_are_named(method, path, operation):
    route = parse_route(method, path)
    assert route is not None
    assert route.operation is operation
    assert route.endpoint is not None


@pytest.mark.parametrize(
    ("method", "path", "endpoint"),
    [
        ("GET", "/api/v1/sessions", Operation.SESSIONS),
        ("post", "/api/v1/sessions", Operation.SESSIONS),
        ("PUT", "/api/v1/sessions/4a0f/events", Operation.EVENTS),
        ("POST", "/api/v1/schemas/play", Operation.SCHEMAS),
        ("HEAD", "/api/v1/schemas/play", Operation.SCHEMAS),
        ("POST", "/api/v2/sessions", None),
        ("POST", "/api/v1/", None),
        ("POST", "/api/v1/sessions/", None),
        ("POST", "/api/v1/sessions\n", None),
        ("POST", "/api/v1/sessions//events", None),
        ("POST", "/api/v1/sessions/4a0f", None),
        ("POST", "/api/v1/sessions/4a0f/events/", None),
        ("POST", "/api/v1/sessions/4a0f/events\n", None),
        ("POST", "/api/v1/4a0f/events", None),
        ("OPTIONS", "/api/v1/elsewhere", None),
        ("POST", "/api/v1/Sessions", None),
    ],
)
def test_what_the_protocol_does_not_name_is_other(method, path, endpoint):
    """A wrong method keeps the endpoint the path names, so that a rule can say what was wrong."""
    route = parse_route(method, path)
    assert route is not None
    assert (route.operation, route.endpoint) == (Operation.OTHER, endpoint)


@pytest.mark.parametrize(
    "path", ["/", "", "*", "/favicon.ico", "/api/v1", "/api/vx/sessions", "/API/v1/sessions", "/x?to=/api/v1/sessions"]
)
def test_a_path_without_an_api_version_is_not_recorded(path):
    assert parse_route("POST", path) is None


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/api/v1/sessions/4a0f/events", ""),
        ("/tv/eu/api/v1/sessions/4a0f/events", "/tv/eu"),
        ("//api/v1/sessions/4a0f/events", "/"),
        ("/api/v1/sessions/api/v1/sessions/4a0f/events", "/api/v1/sessions"),
        ("/t\xfcv\n/api/v1/sessions/4a0f/events", "/t\xfcv\n"),
    ],
)
def test_whatever_stands_in_front_is_a_prefix(path, prefix):
    assert parse_route("POST", path) == Route(
        operation=Operation.EVENTS, endpoint=Operation.EVENTS, session_id="4a0f", prefix=prefix
    )


def test_a_schema_is_asked_for_by_event_type():
    route = parse_route("GET", "/api/v1/schemas/adStart")
    assert route is not None
    assert (route.event_type, route.session_id) == ("adStart", None)


def test_operations_have_the_names_of_the_contract():
    assert list(Operation) == ["sessions", "events", "downloaded", "schemas", "preflight", "other"]


@pytest.mark.parametrize(
    ("path", "session_id", "expected"),
    [
        ("/api/v1/sessions/a/events", "a", "/api/v1/sessions/NEW/events"),
        ("/a/events/api/v1/sessions/a/events?id=/a/events", "a", "/a/events/api/v1/sessions/NEW/events?id=/a/events"),
        ("/api/v1/sessions/events/events?", "events", "/api/v1/sessions/NEW/events?"),
        ("/api/v1/sessions/sessions/events", "sessions", "/api/v1/sessions/NEW/events"),
    ],
)
def test_a_new_id_takes_the_place_of_the_old_one_and_of_nothing_else(path, session_id, expected):
    assert events_path(path, session_id, "NEW") == expected
