"""What --speed and --timestamps mean."""

from __future__ import annotations

import pytest

from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.replays.timestamps import Mode, Timestamps
from proxy_addon.errors import SettingsError


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e999", "", "fast", "MAX", "0.0"])
def test_a_speed_is_a_finite_number_above_zero_or_max(text):
    with pytest.raises(SettingsError):
        Speed.parse(text)


@pytest.mark.parametrize(("text", "due_after_s"), [("1", 60.0), ("60", 1.0), ("0.5", 120.0), ("max", None)])
def test_a_step_is_due_after_its_offset_over_the_speed(text, due_after_s):
    assert Speed.parse(text).due_after_s(60.0) == due_after_s


@pytest.mark.parametrize("text", ["1", "2.5", "max", "1e-05"])
def test_a_speed_is_written_as_it_is_read(text):
    assert str(Speed.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "shift_ms"), [("shift:3600", 3_600_000), ("shift:-1.5", -1500), ("shift:+0.001", 1), ("shift:-0.1", -100)]
)
def test_a_shift_is_in_seconds_and_exact(text, shift_ms):
    assert Timestamps.parse(text) == Timestamps(Mode.SHIFT, shift_ms)
    assert Timestamps.parse(str(Timestamps.parse(text))) == Timestamps(Mode.SHIFT, shift_ms)


@pytest.mark.parametrize("text", ["shift", "shift:", "shift:1h", "shift:1e3", "shift:nan", "shift:0.0001", "later", ""])
def test_anything_else_is_refused(text):
    with pytest.raises(SettingsError):
        Timestamps.parse(text)
