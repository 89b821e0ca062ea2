from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

import pytest

from proxy_addon.core.exchange import BodyState, Outcome, Whole, header, shared
from proxy_addon.core.routes import Operation
from tests.builders import exchange, request, response, start


def test_a_header_is_found_in_any_case_and_the_first_one_counts():
    headers = (("X-A", "1"), ("content-TYPE", "a"), ("Content-Type", "b"))
    assert header(headers, "Content-Type") == "a"
    assert header(headers, "CONTENT-type") == "a"
    assert header(headers, "Content") is None


@pytest.mark.parametrize(("length", "is_shared"), [(4_000, True), (5_000, False)])
def test_equal_headers_are_one_object_but_for_long_ones(length, is_shared):
    first, second = ((("Cookie", "".join(["x"] * length)),) for _ in range(2))
    assert shared(first) is first
    assert (shared(second) is first) is is_shared
    assert shared(second) == second


def test_hashes_are_those_of_the_bytes():
    digest = hashlib.sha256(b"\x00\xff").hexdigest()
    assert request(body=b"\x00\xff").body_sha256 == digest
    assert response(body=b"\x00\xff").body_sha256 == digest


def test_a_naive_time_of_arrival_is_refused():
    with pytest.raises(ValueError, match="aware"):
        replace(exchange(), received_at=datetime(2026, 3, 1))


def test_a_truncated_body_has_the_hash_of_the_whole_and_reports_no_event():
    whole = Whole(length=20_000_000, sha256="ab" * 32)
    sent = replace(request(body=b'{"eventType": "ping"}'), body_state=BodyState.TRUNCATED, whole=whole)
    assert sent.body_sha256 == "ab" * 32
    assert sent.reading.events == ()
    assert replace(response(body=b""), whole=whole).body_sha256 == "ab" * 32


def test_outcomes_have_the_names_of_the_contract():
    assert set(Outcome) == {
        "answered",
        "client-gone",
        "upstream-timeout",
        "upstream-unreachable",
        "upstream-closed",
        "rejected",
        "interrupted",
    }


def test_a_path_that_would_not_be_recorded_is_other():
    assert exchange("GET", "/favicon.ico").route.operation is Operation.OTHER


@pytest.mark.parametrize(
    ("status", "success"),
    [(101, False), (199, False), (200, True), (204, True), (299, True), (300, False), (500, False)],
)
def test_success_is_2xx(status, success):
    assert response(status).is_success is success
    assert exchange(response=response(status)).is_accepted is success


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.ANSWERED])
def test_only_a_complete_answer_accepts(outcome):
    """A device that left while a 201 came in is not known to have been accepted."""
    assert not start(outcome=outcome, response=response(201, location="/api/v1/sessions/a")).is_accepted
    assert not start(outcome=outcome, response=None).is_accepted
