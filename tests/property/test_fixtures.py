"""A session that is written to a file and read back is the same session, byte for byte."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core import jsontext
from proxy_addon.core.fixtures import fixture
from proxy_addon.core.fixtures.pretty import LAYOUTS, written
from proxy_addon.core.sessions import opened
from tests.property.exchanges import exchanges_of_a_session
from tests.property.strategies import JSON_TEXTS


@given(exchanges_of_a_session(), st.booleans())
def test_a_fixture_holds_all_of_a_session(exchanges, pseudonymised):
    session = replace(opened(exchanges[0], id="s1", recording="r"), pseudonymised=pseudonymised)
    text = fixture.document(session, exchanges, version="1.0", compare={"ignore": []})
    capture = fixture.read(jsontext.loads(text.encode()))
    read = tuple(capture.exchanges)
    assert capture.tally.broken == []
    assert read == exchanges
    assert (capture.pseudonymised, capture.compare, capture.recording) == (pseudonymised, {"ignore": []}, "r")
    assert fixture.document(session, read, version="1.0", compare=capture.compare) == text


@given(JSON_TEXTS, st.sampled_from(LAYOUTS))
def test_json_on_one_line_is_the_same_json(text, layout):
    value = jsontext.loads(text.encode())
    again = jsontext.loads(written(value, layout).encode())
    assert written(again, LAYOUTS[-1]) == written(value, LAYOUTS[-1])
