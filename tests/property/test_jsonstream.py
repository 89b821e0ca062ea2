"""Values are found in a JSON text however it is cut into chunks, and a text that ends too early is never taken for whole."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core import jsontext
from proxy_addon.core.jsonstream import CutOff, JsonStream

TEXTS = st.text(max_size=20) | st.sampled_from(['"', "\\", '\\"', "{[", "]}", "\\\\\\", "x" * 700, '\\"' * 60])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def chunks(data: st.DataObject, text: bytes) -> list[bytes]:
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    return [text[a:b] for a, b in pairwise([0, *sorted(places), len(text)]) if a < b]


@given(st.data(), st.lists(VALUES, max_size=4), VALUES, st.sampled_from([None, 0, 2]), st.booleans())
def test_elements_are_found_in_any_chunks(data, values, other, indent, ascii_only):
    document = {"other": other, "log": {"entries": values, "later": other}}
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    stream = JsonStream(chunks(data, text))
    found: list[Any] = []
    for name in stream.members():
        if name == "other":
            stream.skip()
            continue
        for inner in stream.members():
            if inner != "entries":
                assert json.loads(stream.value().text) == other
                continue
            for raw in stream.elements():
                assert text[raw.offset :].startswith(raw.text)
                assert raw.decoded() == jsontext.loads(raw.text)
                found.append(json.loads(raw.text))
    assert found == values
    assert stream.peek() == b""


@given(st.data(), st.lists(VALUES, min_size=1, max_size=4))
def test_a_text_that_ends_too_early_gives_its_whole_elements(data, values):
    text = json.dumps(values).encode()
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    found: list[Any] = []

    def read() -> None:
        found.extend(json.loads(raw.text) for raw in JsonStream(chunks(data, cut)).elements())

    with pytest.raises(CutOff):
        read()
    assert found == values[: len(found)]
    assert len(text) - len(cut) > 1 or len(found) == len(values) or not isinstance(values[-1], dict | list | str)


@given(st.data(), VALUES, st.text(min_size=11, max_size=900))
def test_only_long_strings_are_left_out(data, value, long):
    text = json.dumps([value, {"long": long, "short": "x"}]).encode()
    first, second = JsonStream(chunks(data, text), longest_string=901 * 12).elements()
    assert (json.loads(first.text), json.loads(second.text)) == (value, {"long": long, "short": "x"})
    whole = json.dumps({"long": long * 100, "short": "x"}).encode()
    raw = JsonStream([whole[:7], *chunks(data, whole[7:])], longest_string=10).value()
    assert raw.is_shortened or len(long * 100) < 501
    assert json.loads(raw.text)["short"] == "x"
