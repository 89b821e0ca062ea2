from __future__ import annotations

import pytest

from proxy_addon.core.locations import find_location, location_shape, session_id_in


@pytest.mark.parametrize(
    "location",
    [
        "/api/v1/sessions/4a0f",
        "api/v1/sessions/4a0f",
        "/api/v2/sessions/4a0f",
        "/prefix/api/v1/sessions/4a0f",
        "/api/v1/sessions/4a0f/",
        "/api/v1/sessions/4a0f?x=/api/v1/sessions/no",
        "/api/v1/sessions/4a0f#part",
        "https://h.example/api/v1/sessions/4a0f",
        "http://[::1]:9000/tv/api/v1/sessions/4a0f/?x=1#y",
        "//h.example/api/v1/sessions/4a0f",
    ],
)
def test_the_id_is_the_same_however_location_is_written(location):
    assert session_id_in(location) == "4a0f"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/",
        "/login",
        "4a0f",
        "/api/v1/sessions",
        "/api/v1/sessions/",
        "/api/v1/sessions//",
        "/api/v1/sessions/?x=1",
        "/api/v1/sessions/a/b",
        "/api/v1/sessions/a b",
        "/api/v1/sessions/a\n",
        "/api/vx/sessions/a",
        "/login?next=/api/v1/sessions/a",
        "https://h.example?/api/v1/sessions/a",
    ],
)
def test_a_location_without_an_id_that_fits_in_a_path_has_none(location):
    assert session_id_in(location) is None


def test_location_is_found_in_any_case_and_the_first_one_counts():
    assert find_location([("Server", "x"), ("lOCATION", " /a "), ("Location", "/b")]) == "/a"


def test_an_empty_location_is_not_an_absent_one():
    assert find_location([("Location", "")]) == ""
    assert find_location([("Content-Location", "/a")]) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/api/v1/sessions/a", "/api/v1/sessions/b"),
        ("http://one.example/api/v1/sessions/a", "https://other.example:8443/api/v1/sessions/b"),
        ("//one/api/v1/sessions/a", "//other/api/v1/sessions/b"),
        ("/login", "/login"),
    ],
)
def test_servers_that_behave_alike_send_one_shape(one, other):
    assert location_shape(one) == location_shape(other)


def test_a_location_that_breaks_an_sdk_has_another_shape():
    """Prefix, version, absolute form, a slash or a query behind the ID: each one breaks some SDK."""
    locations = [
        "/api/v1/sessions/a",
        "api/v1/sessions/a",
        "/api/v2/sessions/a",
        "/tv/api/v1/sessions/a",
        "/api/v1/sessions/a/",
        "/api/v1/sessions/a?x=1",
        "//h/api/v1/sessions/a",
        "http://h/api/v1/sessions/a",
        "http://h/tv/api/v1/sessions/a",
        "/login",
        "",
    ]
    assert len({location_shape(location) for location in locations}) == len(locations)
