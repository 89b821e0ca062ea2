from __future__ import annotations

import pytest

from proxy_addon.core.comparing import compare
from proxy_addon.core.exchange import Outcome
from proxy_addon.core.runs import Difference
from tests.builders import response

RELATIVE = "/api/v1/sessions/{sid}"


def created(location: str | None):
    return response(201, location=location)


@pytest.mark.parametrize(
    ("recorded", "replayed"),
    [
        (response(204), response(204, headers=(("Server", "x"),), body=b"other")),
        (created("/api/v1/sessions/a"), created("/api/v1/sessions/b")),
        (response(201, headers=(("location", "/api/v1/sessions/a"),)), created(" /api/v1/sessions/b ")),
        (created("http://a/api/v1/sessions/a"), created("https://b:8443/api/v1/sessions/b")),
    ],
)
def test_answers_are_alike_when_status_and_shape_of_location_are(recorded, replayed):
    assert compare(recorded, Outcome.ANSWERED, replayed) == ()


@pytest.mark.parametrize(
    ("recorded", "replayed", "differences"),
    [
        (response(204), response(200), [("status", 204, 200)]),
        (created("/api/v1/sessions/a"), created(None), [("header.Location", RELATIVE, None)]),
        (created(None), created("/api/v1/sessions/a"), [("header.Location", None, RELATIVE)]),
        (created(""), created(None), [("header.Location", "", None)]),
        (
            created("/api/v1/sessions/a"),
            created("https://h/api/v1/sessions/a"),
            [("header.Location", RELATIVE, "{scheme}://{host}/api/v1/sessions/{sid}")],
        ),
        (
            created("/api/v1/sessions/a"),
            response(302, location="/login"),
            [("status", 201, 302), ("header.Location", RELATIVE, "/login")],
        ),
    ],
)
def test_each_difference_says_where_and_has_both_sides(recorded, replayed, differences):
    assert compare(recorded, Outcome.ANSWERED, replayed) == tuple(
        Difference(where=where, recorded=before, replayed=after) for where, before, after in differences
    )


@pytest.mark.parametrize("outcome", [Outcome.UPSTREAM_TIMEOUT, Outcome.UPSTREAM_UNREACHABLE, Outcome.UPSTREAM_CLOSED])
def test_an_answer_differs_from_none(outcome):
    assert compare(None, outcome, response(204)) == (Difference(where="status", recorded=outcome.value, replayed=204),)


def test_a_device_that_left_says_nothing_about_upstream():
    assert compare(None, Outcome.CLIENT_GONE, response(500)) == ()
