"""From entries of a journal to exchanges."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import pytest

from proxy_addon.core.exchange import BodyState, Outcome, Whole
from proxy_addon.core.routes import Operation
from proxy_addon.journal.entries import About, Exchanged
from proxy_addon.journal.exchanges import exchange_of
from tests.builders import BEGIN, start

ABOUT = About(run="r", started_us=0, program="1", engine="lane", upstream="https://upstream.example")
BEGIN_US = int(BEGIN.timestamp()) * 1_000_000
REQUEST = b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nX-Odd:  a\xe9b \t\r\nx-odd:\r\n\r\n"
WHOLE = Exchanged(
    id="x1",
    received_us=BEGIN_US + 1,
    outcome="answered",
    request=REQUEST,
    request_body=b"{}",
    response=b"HTTP/1.0 201 Created at last\r\nLocation: /y\r\n\r\n",
    response_body=b"[]",
    duration_us=1500,
    client="192.0.2.7",
    server=("198.51.100.1", 443),
)


def changed(**changes):
    return exchange_of(msgspec.structs.replace(WHOLE, **changes), ABOUT)


def test_all_that_was_on_the_wire_is_in_the_exchange():
    exchange = exchange_of(WHOLE, ABOUT)
    assert (exchange.id, exchange.upstream, exchange.outcome) == ("x1", ABOUT.upstream, Outcome.ANSWERED)
    assert (exchange.received_at, exchange.duration_us) == (BEGIN.replace(microsecond=1), 1500)
    assert (exchange.client_address, exchange.server_address) == ("192.0.2.7", ("198.51.100.1", 443))
    request, response = exchange.request, exchange.response
    assert (request.method, request.path, request.http_version) == ("POST", "/api/v1/sessions", "HTTP/1.1")
    assert request.headers == (("Host", "x"), ("X-Odd", "a\xe9b"), ("x-odd", ""))
    assert (request.body, request.complete, request.body_state) == (b"{}", True, BodyState.EXACT)
    assert response is not None
    assert (response.status, response.reason, response.http_version) == (201, "Created at last", "HTTP/1.0")
    assert (response.headers, response.body) == ((("Location", "/y"),), b"[]")
    assert exchange.route.operation is Operation.SESSIONS


def test_an_entry_says_where_it_went_if_its_recorder_has_no_upstream_of_its_own():
    assert changed(upstream="http://other.example").upstream == "http://other.example"
    with pytest.raises(ValueError, match="where it went"):
        exchange_of(WHOLE, msgspec.structs.replace(ABOUT, upstream=None))


def test_what_has_no_answer_has_none():
    gone = changed(response=None, outcome="client-gone", duration_us=None, is_complete=False, reason="it left")
    assert (gone.response, gone.outcome, gone.reason) == (None, Outcome.CLIENT_GONE, "it left")
    assert not gone.request.complete
    assert changed(response=b"HTTP/1.1 204\r\n\r\n").response.reason == ""


def test_of_a_body_that_was_too_long_the_whole_is_known():
    sha256 = hashlib.sha256(b"{}...").hexdigest()
    cut = changed(request_length=5, request_sha256=sha256, response_length=7, response_sha256="ab")
    assert (cut.request.body_state, cut.request.whole) == (BodyState.TRUNCATED, Whole(5, sha256))
    assert cut.request.body_sha256 == sha256
    assert cut.response.whole == Whole(7, "ab")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://a.example:1/api/v1/x?y#z", "/api/v1/x?y#z"),
        ("https://a.example", "/"),
        ("/a b?http://c", "/a b?http://c"),
    ],
)
def test_the_path_is_in_origin_form_whatever_authority_the_device_named(target, path):
    assert changed(request=f"GET {target} HTTP/1.1\r\n\r\n".encode()).request.path == path


def test_heads_are_remembered_only_if_they_are_short():
    long = replace(start().request, headers=(("X", "y" * 5000),))
    head = b"GET / HTTP/1.1\r\nX: " + b"y" * 5000 + b"\r\n\r\n"
    assert changed(request=head).request.headers == long.headers
    assert changed().request.headers is changed(id="x2").request.headers


@pytest.mark.parametrize("head", [b"", b"secret", b" / HTTP/1.1\r\n\r\n"])
def test_what_is_no_head_is_refused_without_quoting_it(head):
    with pytest.raises(ValueError, match="first line") as refused:
        changed(request=head)
    assert "secret" not in str(refused.value)


def test_what_a_recorder_has_refused_is_read_as_far_as_it_can_be():
    head = b"POST /api/v1/sessions HTTP/1.123456789012345678\r\nno colon\r\n folded: x\r\n\r\n"
    request = changed(request=head, outcome="rejected", response=None).request
    assert (request.path, request.http_version) == ("/api/v1/sessions HTTP/1.123456789012345678", "")
    assert request.headers == (("no colon", ""), (" folded", "x"))
    assert changed(request=b"GET /api/v1/x", outcome="rejected").request.path == "/api/v1/x"
