"""Exchanges that are written as lines and read back are the same, byte for byte."""

from __future__ import annotations

import json

from hypothesis import given

from proxy_addon.core import jsontext
from proxy_addon.core.fixtures import ndjson
from proxy_addon.core.fixtures.captures import Entry, Tally
from proxy_addon.core.sessions import AsOf, opened
from proxy_addon.reporting.documents import exchange_document, session_document
from tests.builders import BEGIN
from tests.property.exchanges import exchanges_of_a_session


@given(exchanges_of_a_session())
def test_lines_hold_all_of_an_exchange(exchanges):
    about = session_document(opened(exchanges[0], id="s1"), AsOf(now=BEGIN))
    documents = [exchange_document(each, seq, ()) for seq, each in enumerate(exchanges, 1)]
    lines = [json.dumps(ndjson.line(document, about)) for document in documents]
    entries = [Entry(where=f"line {n}", value=jsontext.loads(line.encode())) for n, line in enumerate(lines, 1)]
    tally = Tally()
    assert tuple(ndjson.exchanges(entries, tally)) == exchanges
    assert tally.broken == []
