from __future__ import annotations

import pytest

from proxy_addon.core import jsontext
from proxy_addon.errors import ProtocolError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb'"x\ud83cy"', "x\ud83cy"),
        (rb'"\u0000"', "\0"),
        ('"\u2028é"'.encode(), "\u2028é"),
        (b" \t\r\n[1]\n", [1]),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b"9223372036854775808", 2**63),
        (b"60.39333333333333", 60.39333333333333),
        (b"-0", 0),
        (b"1e400", float("inf")),
        (b"null", None),
    ],
)
def test_what_rfc_8259_calls_well_formed_is_read(text, value):
    assert jsontext.loads(text) == value


@pytest.mark.parametrize("digits", [4_000, 4_001, 4_301, 100_000])
@pytest.mark.parametrize("sign", [b"", b"-"])
def test_a_number_may_have_any_length(sign, digits):
    """Python refuses to make integers of more than 4,300 digits; that is not the sender's fault."""
    assert abs(jsontext.loads(sign + b"9" * digits)) > 10**3_999 - 1


@pytest.mark.parametrize("depth", [1, 999, 1_000])
def test_a_thousand_levels_of_nesting_are_followed(depth):
    value = jsontext.loads(b"[" * depth + b"]" * depth)
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "Expecting value"),
        (b" ", "Expecting value"),
        (b'{"a":1', "Expecting"),
        (b"[1,]", "trailing comma|Expecting value"),
        (b"{'a':1}", "Expecting property name"),
        (b"[1] // no", "Extra data"),
        (b"{} {}", "Extra data"),
        (b"01", "Extra data"),
        (b'"a\nb"', "Invalid control character"),
        (b"NaN", "NaN is not a JSON value"),
        (b"[Infinity]", "Infinity is not a JSON value"),
        (b"[-Infinity]", "-Infinity is not a JSON value"),
        (b'"\xff"', "invalid UTF-8 at byte 1"),
        (b'"\xed\xa0\xbd"', "invalid UTF-8 at byte 1"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
        (b"\x1f\x8b\x08\x00", "invalid UTF-8 at byte 1"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a":' * 200_000, "nested too deep"),
    ],
)
def test_anything_else_is_not_json(text, complaint):
    with pytest.raises(ProtocolError, match=f"^not JSON: .*({complaint})"):
        jsontext.loads(text)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (b"1731672000000.00000001", False), (b"1731672000000.0", True), (b"7.0000000000000000000001", False),
        (b"1e-400", False), (b"0e-400", True), (b"1e999999999", True), (b"12e-1", False), (b"120e-1", True),
        (b"9007199254740993.5", False), (b"-0.0", True),
    ],
)  # fmt: skip
def test_whether_a_number_is_whole_depends_on_its_text(text, whole):
    assert jsontext.loads(text).is_whole is whole
