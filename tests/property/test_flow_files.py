"""A session that is written as mitmproxy's flows and read back is the same session."""

from __future__ import annotations

import io
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.sessions import opened
from proxy_addon.recording import flow_files
from tests.property.exchanges import exchanges_of_a_session


@given(exchanges_of_a_session(), st.booleans(), st.data())
def test_a_flow_file_holds_all_of_a_session(exchanges, pseudonymised, data):
    upstream = data.draw(st.sampled_from(["http://collector.example:8081", "https://[::1]/some/path", "unreadable"]))
    exchanges = tuple(replace(exchange, upstream=upstream) for exchange in exchanges)
    session = replace(opened(exchanges[0], id="s1", recording="r"), pseudonymised=pseudonymised)
    pieces = list(flow_files.pieces(session, exchanges))
    assert pieces == list(flow_files.pieces(session, exchanges))
    capture = flow_files.capture(io.BytesIO(b"".join(pieces)), "a.flow")
    assert tuple(capture.exchanges) == exchanges
    assert (capture.recording, capture.pseudonymised, capture.tally.broken) == ("r", pseudonymised, [])
    cut = flow_files.capture(io.BytesIO(b"".join(pieces)[: -data.draw(st.integers(1, len(pieces[-1]) - 1))]), "a.flow")
    assert tuple(cut.exchanges) == exchanges[:-1]
    assert cut.tally.broken_count == 1
    begin = sum(map(len, pieces[:-1]))
    assert cut.tally.broken[0].startswith(f"flow {len(exchanges) - 1}, at byte {begin}: the file is cut off")
