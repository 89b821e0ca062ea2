from __future__ import annotations

import gzip

import pytest

from proxy_addon.core.replays.timestamps import shift_timestamps
from proxy_addon.errors import ProtocolError
from tests.sdk_traffic import load


@pytest.mark.parametrize(
    ("body", "shifted"),
    [
        (b'{"playerTime":{"ts":1000}}', b'{"playerTime":{"ts":1005}}'),
        (b'{"playerTime":{"ts":-3}}', b'{"playerTime":{"ts":2}}'),
        (b'{"playerTime":{"ts":9223372036854775803}}', b'{"playerTime":{"ts":9223372036854775808}}'),
        (b'\t{"ts":1,"playerTime" :\r\n{ "ts" : 1 }}\n', b'\t{"ts":1,"playerTime" :\r\n{ "ts" : 6 }}\n'),
        (b'{"playerTime":{"ts":1,"x":1.0e2,"ts":2}}', b'{"playerTime":{"ts":6,"x":1.0e2,"ts":7}}'),
        (b'{"playerTime":{"ts":1},"playerTime":{"ts":2}}', b'{"playerTime":{"ts":6},"playerTime":{"ts":7}}'),
        (rb'{"player\u0054ime":{"\u0074s":1}}', rb'{"player\u0054ime":{"\u0074s":6}}'),
        (
            b'[{"playerTime":{"ts":1}},{},7,{"playerTime":{"ts":2}}]',
            b'[{"playerTime":{"ts":6}},{},7,{"playerTime":{"ts":7}}]',
        ),
        (
            b'{"params":{"s":"}\\"{,:[\\\\"},"playerTime":{"ts":1}}',
            b'{"params":{"s":"}\\"{,:[\\\\"},"playerTime":{"ts":6}}',
        ),
        (
            b'{"a":{"playerTime":{"ts":1}},"playerTime":{"ts":1}}',
            b'{"a":{"playerTime":{"ts":1}},"playerTime":{"ts":6}}',
        ),
        (
            b'{"a":[{"playerTime":{"ts":1}}],"playerTime":{"ts":1}}',
            b'{"a":[{"playerTime":{"ts":1}}],"playerTime":{"ts":6}}',
        ),
        (b'{"playerTime":{"a":{"ts":1},"b":[],"c":{},"ts":1}}', b'{"playerTime":{"a":{"ts":1},"b":[],"c":{},"ts":6}}'),
        (rb'{"\ud83c":0,"playerTime":{"\ud83c":0,"ts":1}}', rb'{"\ud83c":0,"playerTime":{"\ud83c":0,"ts":6}}'),
        (b'{"":0,"playerTime":{"":"ts","ts":1}}', b'{"":0,"playerTime":{"":"ts","ts":6}}'),
        (
            b'[[{"playerTime":{"ts":1}}],{"playerTime":{"ts":1}}]',
            b'[[{"playerTime":{"ts":1}}],{"playerTime":{"ts":6}}]',
        ),
    ],
)
def test_the_ts_of_each_event_moves_and_every_other_byte_stays(body, shifted):
    assert shift_timestamps(body, 5) == shifted


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b'{"playerTime":{"ts":1}', "not JSON"),
        (gzip.compress(b'{"playerTime":{"ts":1}}', mtime=0), "not JSON"),
        (b'{"playerTime":{"ts":NaN}}', "not JSON"),
        (b"[" * 200_000, "nested too deep"),
        (b"7", "it has no playerTime.ts"),
        (b'"ts"', "it has no playerTime.ts"),
        (b"[]", "it has no playerTime.ts"),
        (b'{"ts":1,"playertime":{"ts":1}}', "it has no playerTime.ts"),
        (b'{"playerTime":[{"ts":1}]}', "it has no playerTime.ts"),
        (b'[{"playerTime":{"TS":1}}]', "it has no playerTime.ts"),
        (b'{"playerTime":{"ts":1.0}}', "ts is not an integer: 1.0"),
        (b'{"playerTime":{"ts":1e12}}', "ts is not an integer: 1e12"),
        (b'{"playerTime":{"ts":"1"}}', 'ts is not an integer: "1"'),
        (b'{"playerTime":{"ts":null}}', "ts is not an integer: null"),
        (b'{"playerTime":{"ts":{"ts":1}}}', r"ts is not an integer: \{"),
        (b'{"playerTime":{"ts":[1]}}', r"ts is not an integer: \["),
        ('{"playerTime":{"ts":"é"}}'.encode(), "ts is not an integer"),
        (b'[{"playerTime":{"ts":1}},{"playerTime":{"ts":true}}]', "ts is not an integer: true"),
        (b'{"playerTime":{"ts":' + b"9" * 31 + b"}}", "ts is not an integer"),
    ],
)
def test_what_cannot_be_shifted_is_refused(body, complaint):
    with pytest.raises(ProtocolError, match=complaint):
        shift_timestamps(body, 5)


def test_real_bodies_differ_only_in_the_digits_of_ts():
    bodies = [request.body for request in load() if request.method == "POST"]
    for body in bodies:
        before, mark, after = body.partition(b'"ts":')
        digits, rest = after[:13], after[13:]
        expected = before + mark + str(int(digits) + 86_400_000).encode() + rest
        assert shift_timestamps(body, 86_400_000) == expected
    assert len(bodies) == 28
