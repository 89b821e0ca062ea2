"""Whatever a device or a server sends, it is either understood or a `ProtocolError`."""

from __future__ import annotations

import contextlib
import math

from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core import jsontext
from proxy_addon.core.events import Body, read_body
from proxy_addon.core.locations import find_location, location_shape, session_id_in
from proxy_addon.core.replays.plans import plan_session
from proxy_addon.core.replays.targets import parse_allowed
from proxy_addon.core.routes import Operation, events_path, parse_route
from proxy_addon.core.sessions import Membership, joined, membership, opened
from proxy_addon.core.urls import parse_server_url
from proxy_addon.errors import ProtocolError, SettingsError
from tests.builders import exchange, response, session
from tests.property.strategies import JSON_TEXTS, PATHS, SESSION_IDS

_PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"1", b"-", b"e", b"ts", b"\xff", b"NaN", b" "]
)
BODIES = st.binary(max_size=40) | st.lists(_PIECES, max_size=20).map(b"".join) | JSON_TEXTS.map(str.encode)
METHODS = st.sampled_from(["POST", "GET", "OPTIONS", "PUT", "post", ""])


@given(BODIES)
def test_any_body_is_json_or_not(body: bytes):
    with contextlib.suppress(ProtocolError):
        jsontext.loads(body)


@given(JSON_TEXTS)
def test_every_json_text_is_read(text: str):
    jsontext.loads(text.encode())


@given(BODIES)
def test_any_body_can_be_read_for_events_and_what_is_read_fits_a_store(body: bytes):
    for event in read_body(body).events:
        assert event.ts_ms is None or -(2**63) <= event.ts_ms < 2**63
        assert event.playhead_s is None or math.isfinite(float(event.playhead_s))


@given(st.lists(JSON_TEXTS, max_size=4))
def test_a_batch_has_an_event_for_each_element(texts: list[str]):
    body = read_body(("[" + ",".join(texts) + "]").encode())
    assert body == Body(is_batch=True, events=body.events)
    assert len(body.events) == len(texts)


@given(METHODS, PATHS)
def test_any_path_has_a_route_or_is_not_recorded(method: str, path: str):
    route = parse_route(method, path)
    if route is None:
        assert "/api/v1/" not in path.partition("?")[0]
        return
    assert (route.operation is Operation.OTHER) or route.endpoint is not None
    assert (route.session_id is not None) == (route.endpoint is Operation.EVENTS)


@given(METHODS, PATHS, BODIES, PATHS, st.integers(100, 599))
def test_any_exchange_can_be_folded_and_planned(method: str, path: str, body: bytes, location: str, status: int):
    value = exchange(method, path, body=body, response=response(status, location=location))
    match membership(value):
        case Membership.OPENS:
            folded = opened(value, id="s1")
        case Membership.JOINS:
            folded = joined(session(), value)
        case Membership.NONE:
            folded = session()
    assert folded.exchanges == (2 if membership(value) is Membership.JOINS else 1)
    (step,) = plan_session(folded, [value]).steps
    assert step.opens is (membership(value) is Membership.OPENS)


@given(
    st.sampled_from(["", "/tv", "/api/v1/sessions/4a0f/events"]),
    SESSION_IDS,
    SESSION_IDS,
    st.sampled_from(["", "?a/b"]),
)
def test_an_id_put_into_a_path_is_found_there_and_can_be_taken_back(prefix: str, old: str, new: str, query: str):
    path = f"{prefix}/api/v1/sessions/{old}/events{query}"
    changed = events_path(path, old, new)
    route = parse_route("POST", changed)
    assert route is not None
    assert (route.session_id, route.prefix) == (new, prefix)
    assert events_path(changed, new, old) == path


@given(PATHS)
def test_an_id_taken_from_a_location_fits_in_a_path(location: str):
    found = session_id_in(location)
    if found is None:
        assert location_shape(location) == location
        return
    route = parse_route("POST", f"/api/v1/sessions/{found}/events")
    assert route is not None
    assert route.session_id == found


@given(
    PATHS.map(lambda path: path.replace("?", "").replace("#", "")),
    SESSION_IDS.filter(lambda text: "#" not in text and not any(character.isspace() for character in text)),
)
def test_the_id_makes_no_difference_to_the_shape_of_a_location(prefix: str, session_id: str):
    one, other = f"{prefix}/api/v1/sessions/{session_id}", f"{prefix}/api/v1/sessions/x"
    assert session_id_in(one) == session_id
    assert location_shape(one) == location_shape(other)


@given(st.lists(st.tuples(st.sampled_from(["Location", "LOCATION", "Server"]), st.text(max_size=5)), max_size=4))
def test_location_is_found_exactly_where_there_is_one(headers: list[tuple[str, str]]):
    assert (find_location(headers) is None) == all(name == "Server" for name, _ in headers)


@given(st.text(max_size=20))
def test_any_allowed_host_is_parsed_or_refused(text: str):
    with contextlib.suppress(SettingsError):
        allowed = parse_allowed(text)
        assert parse_allowed(allowed.host if ":" not in allowed.host else f"[{allowed.host}]").host == allowed.host


@given(
    st.lists(
        st.sampled_from(
            ["http", "HTTPS", "://", ":", "//", "/", "h", "[::1]", "@", "?", "#", "80", "443", "%", " ", "\n", "é"]
        )
        | st.text(max_size=2),
        max_size=8,
    ).map("".join)
    | st.builds("http://{}".format, st.text(max_size=8))
)
def test_a_parsed_url_is_parsed_again_from_its_text(url: str):
    try:
        parsed = parse_server_url(url)
    except SettingsError:
        return
    assert parse_server_url(str(parsed)) == parsed
