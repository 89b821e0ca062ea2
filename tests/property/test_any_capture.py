"""Whatever has happened to a capture file, it is read as far as it can be, or refused with one sentence."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.fixtures.held import sessions_in
from proxy_addon.core.judging.files import judge_held
from proxy_addon.errors import ProtocolError, SettingsError
from proxy_addon.files import captures
from proxy_addon.files.captures import Form
from proxy_addon.files.unpacking import Unpacked
from proxy_addon.recording import flow_files

FOLDER = Path(__file__).parents[1] / "samples" / "captures"
SAMPLES = [path.read_bytes() for suffix in ("har", "chlsj", "flows") for path in sorted(FOLDER.glob(f"*.{suffix}"))]
PIECES = [b"", b'"', b"{", b"]", b"\\", b"null", b"-1", b"1e999", b"\0", b"[[[[", b"\xff", b"NaN", b"\\ud800", b"{}"]
MEMBERS = [b"null", b"[]", b"{}", b"5", b'"x"', b"1e400", b"-1", b"true", b'"\\ud800"']


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    raw = draw(st.sampled_from(SAMPLES))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw) - 1))
        match draw(st.sampled_from(["cut", "replace", "replace", "member", "member", "member"])):
            case "cut":
                raw = raw[: at + 1]
            case "replace":
                raw = raw[:at] + draw(st.sampled_from(PIECES)) + raw[at + draw(st.sampled_from([0, 1, 5, 80])) :]
            case _:
                begin = raw.find(b":", at) + 1
                end = raw.find(b",", begin)
                if 0 < begin < end < begin + 300:
                    raw = raw[:begin] + draw(st.sampled_from(MEMBERS)) + raw[end:]
        raw = raw or b" "
    return raw


@given(damaged())
def test_a_damaged_file_is_read_as_far_as_it_can_be(raw):
    file = Unpacked(name="a", reopen=lambda: io.BytesIO(raw), attached=lambda _: None)
    form = captures.recognised(file)
    if form is None:
        return
    with contextlib.suppress(ProtocolError, SettingsError):
        opened = flow_files.capture(io.BytesIO(raw), "a") if form is Form.FLOWS else captures.capture(file, form)
        for held in sessions_in(opened):
            judge_held(held)
        assert all(opened.tally.broken)
