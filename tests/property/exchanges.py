"""Any exchanges, for Hypothesis: sessions with odd bytes, duplicate keys, compressed bodies, batches and failures."""

from __future__ import annotations

import gzip
from datetime import timedelta

from hypothesis import strategies as st

from proxy_addon.core.exchange import BodyState, Exchange, Headers, Outcome, Request, Response, Whole
from tests.builders import BEGIN, SESSION_ID, UPSTREAM, body, event_dict
from tests.property.strategies import JSON_TEXTS

LATIN = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12)
_NAMES = st.text(alphabet="abcXYZ-019", min_size=1, max_size=8) | st.sampled_from(["Host", "Cookie", "X-Forwarded-For"])
HEADERS: st.SearchStrategy[Headers] = st.lists(st.tuples(_NAMES, LATIN), max_size=4).map(tuple)
_EVENTS = st.builds(
    lambda event_type, playhead, ts: body(event_dict(event_type, playhead=playhead, ts=ts)),
    st.sampled_from(["play", "ping", "adStart", "sessionEnd", "pauseStart"]),
    st.floats(0, 1e6) | st.integers(0, 2**70),
    st.integers(-(2**63), 2**63 - 1),
)
BODIES = (
    st.just(b"")
    | _EVENTS
    | _EVENTS.map(gzip.compress)
    | JSON_TEXTS.map(str.encode)
    | st.binary(max_size=20)
    | st.lists(_EVENTS, min_size=1, max_size=3).map(lambda events: b"[" + b", ".join(events) + b"]")
)
_SENTENCES = st.none() | st.text(alphabet=st.characters(codec="utf-8"), max_size=10)

WHOLES = st.builds(Whole, st.integers(0, 2**63 - 1), st.text(alphabet="0123456789abcdef", min_size=64, max_size=64))
"""What the whole body was, of one of which only the beginning is there."""


def _responses(location: str | None) -> st.SearchStrategy[Response]:
    return st.builds(
        Response,
        status=st.sampled_from([200, 201, 204, 400, 404, 410, 500]),
        reason=st.sampled_from(["", "OK", "Nicht gefunden \xe4"]),
        http_version=st.sampled_from(["HTTP/1.0", "HTTP/1.1", "HTTP/2"]),
        headers=HEADERS.map(lambda headers: headers if location is None else (("Location", location), *headers)),
        body=BODIES,
        whole=st.none() | WHOLES,
    )


@st.composite
def exchanges_of_a_session(draw: st.DrawFn, exact: bool = False) -> tuple[Exchange, ...]:
    """Return the exchanges of one session by time of arrival, its start first, each at a microsecond of its own.

    Args:
        exact: Whether all bodies are those that the device sent.
    """
    found = []
    at = BEGIN
    for number in range(draw(st.integers(1, 5))):
        at += timedelta(microseconds=draw(st.integers(1, 10**9)))
        outcome = draw(st.sampled_from([Outcome.ANSWERED] * 3 + list(Outcome)))
        is_start = number == 0
        location = f"/api/v1/sessions/{SESSION_ID}" if is_start else None
        has_answer = outcome is Outcome.ANSWERED
        state = BodyState.EXACT if exact else draw(st.sampled_from(BodyState))
        found.append(
            Exchange(
                id=str(number + 1),
                upstream=UPSTREAM,
                received_at=at,
                duration_us=draw(st.integers(0, 10**8)) if has_answer else None,
                client_address=draw(st.sampled_from(["192.0.2.7", "2001:db8::1", None])),
                outcome=outcome,
                reason=draw(_SENTENCES),
                note=draw(_SENTENCES),
                request=Request(
                    method="POST",
                    path="/api/v1/sessions" if is_start else f"/tv/api/v1/sessions/{SESSION_ID}/events?a=%20b",
                    http_version=draw(st.sampled_from(["HTTP/1.1", "HTTP/2"])),
                    headers=draw(HEADERS),
                    body=draw(BODIES),
                    complete=draw(st.booleans()),
                    body_state=state,
                    whole=draw(WHOLES) if state is BodyState.TRUNCATED else None,
                ),
                response=draw(_responses(location)) if has_answer else None,
            )
        )
    return tuple(found)
