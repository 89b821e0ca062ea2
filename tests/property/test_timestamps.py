from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from proxy_addon.core.events import read_body
from proxy_addon.core.replays.timestamps import shift_timestamps
from proxy_addon.errors import ProtocolError
from tests.property.strategies import JSON_TEXTS, Write, timed_bodies

SHIFTS = st.integers(-(10**15), 10**15)

on_any_machine = settings(suppress_health_check=[HealthCheck.too_slow])
"""Bodies take milliseconds to make; how many tells about the machine."""


@on_any_machine
@given(timed_bodies(), SHIFTS)
def test_nothing_but_the_times_changes(write: Write, by_ms: int):
    """Odd spacing, duplicate keys, escaped keys and numbers of 64 bits included."""
    assert shift_timestamps(write(0).encode(), by_ms) == write(by_ms).encode()


@on_any_machine
@given(timed_bodies(), SHIFTS)
def test_the_opposite_shift_undoes_a_shift(write: Write, by_ms: int):
    body = write(0).encode()
    assert shift_timestamps(shift_timestamps(body, by_ms), -by_ms) == body


@given(st.binary(max_size=60) | JSON_TEXTS.map(str.encode), SHIFTS)
def test_a_body_without_a_time_is_refused(body: bytes, by_ms: int):
    """Such as short bytes, and JSON with ``playerTime`` and ``ts`` in the wrong places."""
    assume(all(event.ts_ms is None for event in read_body(body).events))
    with pytest.raises(ProtocolError):
        shift_timestamps(body, by_ms)


@on_any_machine
@given(timed_bodies().map(lambda write: write(0).encode()) | JSON_TEXTS.map(str.encode), SHIFTS)
def test_passing_the_known_ts_gives_the_same_body(body: bytes, by_ms: int):
    reading = read_body(body)
    known = reading.events[0].ts_ms if reading.events and not reading.is_batch else None
    assert shifted(body, by_ms, known) == shifted(body, by_ms, None)


def shifted(body: bytes, by_ms: int, ts_ms: int | None) -> bytes | str:
    try:
        return shift_timestamps(body, by_ms, ts_ms=ts_ms)
    except ProtocolError as e:
        return str(e)
