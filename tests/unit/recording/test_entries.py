from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_addon.core.exchange import BodyState, Outcome, Whole
from proxy_addon.journal.entries import About, decoded, encoded
from proxy_addon.journal.exchanges import exchange_of
from proxy_addon.recording.entries import entry_of
from tests.builders import exchange, response, start

UPSTREAM = "http://up.example/in/front"
ABOUT = About(run="r", started_us=0, program="1", engine="hooks", upstream=UPSTREAM)
PLAIN = start(id="a", session_id="s1", upstream=UPSTREAM)
_ODD = exchange(
    id="b",
    upstream="https://other.example",
    path="/api/v1/x?q=\xe9:%20",
    headers=(("host", "a"), ("X-Odd", ""), ("X-Odd", "a: b\xff"), ("x-odd", "c")),
    body=bytes(range(256)),
    client_address="2001:db8::1",
    server_address=("192.0.2.1", 443),
    response=replace(response(200, body=b"\r\n\r\n"), reason="Very \xfcber", http_version="HTTP/1.0", headers=()),
)
ODD = replace(_ODD, request=replace(_ODD.request, http_version="HTTP/2"))
FAILED = replace(
    exchange(id="c", upstream=UPSTREAM, response=None, duration_us=None),
    outcome=Outcome.INTERRUPTED,
    reason="the recorder was told to stop",
    server_address=None,
)
CUT = replace(
    ODD,
    request=replace(ODD.request, complete=False, body=b"ab", body_state=BodyState.TRUNCATED, whole=Whole(9, "0f" * 32)),
)


@pytest.mark.parametrize("sent", [PLAIN, ODD, FAILED, CUT], ids=lambda each: each.id)
def test_what_is_written_is_read_as_it_was(sent):
    entry = decoded(encoded(entry_of(sent, UPSTREAM)))
    read = exchange_of(entry, ABOUT)
    assert (read, read.server_address) == (sent, sent.server_address)
    assert (entry.upstream is None) == (sent.upstream == UPSTREAM), "what is the same in all entries is written once"


def test_a_header_that_was_folded_is_one_line():
    folded = replace(PLAIN, request=replace(PLAIN.request, headers=(("X-Long", "one\r\n two"),)))
    assert exchange_of(entry_of(folded, None), ABOUT).request.headers == (("X-Long", "one two"),)
