"""How streams end, and what the proxy answers in upstream's place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy.layers.http._events import ErrorCode, RequestProtocolError, ResponseProtocolError
from mitmproxy.test import tflow, tutils

from proxy_addon.core.exchange import Outcome
from proxy_addon.core.protocol import CORS
from proxy_addon.recording import stream
from proxy_addon.recording.stream import TapeStream, outcome, own_answer, went_upstream


def test_an_answer_of_our_own_can_be_read_by_a_page():
    answer = own_answer(504, "too late: \ud83c")
    assert answer.status_code == 504
    assert json.loads(answer.content or b"") == {"message": "sessiontape: too late: \ud83c"}
    assert [(name, answer.headers[name]) for name, _ in CORS] == list(CORS)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.content or b""))


class TestOutcome:
    def test_a_request_that_mitmproxy_would_not_take_was_rejected(self):
        assert outcome(tflow.tflow()) is Outcome.REJECTED

    def test_an_answer_that_mitmproxy_would_not_take_is_upstreams_end(self):
        assert outcome(tflow.tflow(resp=True)) is Outcome.UPSTREAM_CLOSED

    def test_what_was_noted_counts(self):
        flow = tflow.tflow(resp=True)
        flow.metadata["sessiontape.outcome"] = "client-gone"
        assert outcome(flow) is Outcome.CLIENT_GONE

    def test_a_flow_went_upstream_once_it_was_asked(self):
        flow = tflow.tflow()
        assert not went_upstream(flow)
        flow.metadata["sessiontape.asked"] = True
        assert went_upstream(flow)


def _ended_by(event: Any, http_version: bytes = b"HTTP/1.1") -> Outcome:
    class Stream:
        flow = tflow.tflow(req=tutils.treq(http_version=http_version))

    return TapeStream._ended_by(Stream(), event)  # type: ignore[arg-type]  # it looks at the flow alone


@pytest.mark.parametrize(
    ("message", "code", "http_version", "expected"),
    [
        ("bad framing", ErrorCode.GENERIC_CLIENT_ERROR, b"HTTP/1.1", Outcome.REJECTED),
        ("peer closed connection in the middle", ErrorCode.GENERIC_CLIENT_ERROR, b"HTTP/1.1", Outcome.CLIENT_GONE),
        ("whatever", ErrorCode.GENERIC_CLIENT_ERROR, b"HTTP/2.0", Outcome.CLIENT_GONE),
        ("reset", ErrorCode.CLIENT_DISCONNECTED, b"HTTP/1.1", Outcome.CLIENT_GONE),
        ("cancelled", ErrorCode.CANCEL, b"HTTP/2.0", Outcome.CLIENT_GONE),
    ],
)
def test_a_request_ends_as_refused_or_left(message, code, http_version, expected):
    assert _ended_by(RequestProtocolError(1, message, code), http_version) is expected


@pytest.mark.parametrize(
    ("message", "code", "expected"),
    [
        ("[Errno 111] refused", ErrorCode.CONNECT_FAILED, Outcome.UPSTREAM_UNREACHABLE),
        ("[Errno 104] reset by peer", ErrorCode.CONNECT_FAILED, Outcome.UPSTREAM_CLOSED),
        ("server disconnected", ErrorCode.GENERIC_SERVER_ERROR, Outcome.UPSTREAM_CLOSED),
    ],
)
def test_an_upstream_ends_as_unreachable_or_closed(message, code, expected):
    assert _ended_by(ResponseProtocolError(1, message, code)) is expected


def test_bodies_that_are_recorded_are_never_streamed_and_all_else_stays_as_it_is():
    class Options:
        stream_large_bodies = "1k"
        tape_name = "x"

    kept: Any = stream._Buffering(Options())  # type: ignore[arg-type]
    assert kept.stream_large_bodies is None
    assert kept.tape_name == "x"


def test_streams_are_put_on_http_layers_once():
    from mitmproxy.proxy.layer import NextLayer
    from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode

    context = tutils_context()
    layer = HttpLayer(context, HTTPMode.regular)
    asked = NextLayer(context)
    stream.install(asked)
    made = layer.__dict__["make_stream"]
    stream.install(asked)
    assert layer.__dict__["make_stream"] is made


def tutils_context() -> Any:
    from mitmproxy.options import Options
    from mitmproxy.proxy.context import Context

    client = tflow.tclient_conn()
    client.state = ConnectionState.OPEN
    return Context(client, Options())
