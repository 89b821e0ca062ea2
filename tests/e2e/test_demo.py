"""The demo tells its story over real processes, and leaves nothing behind but a page, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.processes import COMMAND, STOPS_WITHIN_S


def environment(folder: Path) -> dict[str, str]:
    """An environment in which anything that the demo leaves behind is in this folder, or a process that names it."""
    return {**os.environ, "TMPDIR": str(folder)}


def still_running(folder: Path) -> list[str]:
    """Command lines of processes that were started for this folder."""
    mark = f"TMPDIR={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has ended, or is none of ours
    return found


def test_the_demo_tells_its_story(tmp_path):
    done = subprocess.run(
        [COMMAND, "demo"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "$ sessiontape record",
        "sessionStart",
        "$ sessiontape show",
        "event-type-unknown",
        "refused",
        "same",
        "What you have",
    ):
        assert words in done.stdout
    (folder,) = tmp_path.iterdir()
    (page,) = folder.iterdir()
    assert f"The page of the session is {page};" in done.stdout
    assert page.read_bytes().startswith(b"<!doctype html>")
    assert still_running(tmp_path) == []


def test_a_folder_to_keep_the_demo_in_has_to_be_empty(tmp_path):
    (tmp_path / "mine").touch()
    done = subprocess.run(
        [COMMAND, "demo", "--keep", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("number", "whole_group", "code"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 143)],
    ids=["Ctrl-C", "SIGTERM to it alone"],
)
@pytest.mark.parametrize("moment", ["2. The recording proxy", "playhead"])
def test_an_interruption_leaves_nothing_behind(tmp_path, number, whole_group, code, moment):
    demo = subprocess.Popen(
        [COMMAND, "demo"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a terminal sends Ctrl-C to all of its foreground group
    )
    watchdog = threading.Timer(120, demo.kill)
    watchdog.start()
    try:
        assert demo.stdout is not None
        told = ""
        for line in demo.stdout:
            told += line
            if moment in line:
                break
        if whole_group:
            os.killpg(demo.pid, number)
        else:
            demo.send_signal(number)
        told += demo.stdout.read()
        assert demo.wait(STOPS_WITHIN_S * 2) == code, told
    finally:
        watchdog.cancel()
        demo.kill()
        demo.communicate()
    assert "Traceback" not in told
    deadline = time.monotonic() + STOPS_WITHIN_S
    while still_running(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert still_running(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
