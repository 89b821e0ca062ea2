"""Running recorders are found, and those that were killed are not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from proxy_addon.process import recorders
from proxy_addon.process.recorders import Recorder

MINE = Recorder(address="127.0.0.1", port=8080, upstream="https://a.example:443")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sessiontape"


def test_a_recorder_is_known_while_it_runs(folder):
    assert list(recorders.running(folder)) == []
    recorders.announce([MINE, MINE], folder)
    assert list(recorders.running(folder)) == [MINE, MINE]
    assert folder.stat().st_mode & 0o777 == 0o700
    recorders.withdraw(folder)
    assert list(recorders.running(folder)) == []
    recorders.withdraw(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be asked for there")
def test_what_a_dead_recorder_left_counts_for_nothing_and_goes(folder):
    recorders.announce([MINE], folder)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    (folder / f"{os.getpid()}.json").rename(folder / f"{process.pid}.json")
    for odd in ("{", "[1]", '[{"port": 1}]'):
        (folder / f"{os.getpid()}.json").write_text(odd)
        assert list(recorders.running(folder)) == []
    (folder / "x.json").write_text("[]")
    assert sorted(path.name for path in folder.iterdir()) == [f"{os.getpid()}.json", "x.json"]
    assert list(recorders.running(folder)) == []


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no owner there")
def test_a_folder_that_somebody_else_has_made_is_left_alone(folder, tmp_path):
    (tmp_path / "theirs").mkdir()
    folder.symlink_to(tmp_path / "theirs")
    recorders.announce([MINE], folder)
    assert list((tmp_path / "theirs").iterdir()) == []
    assert list(recorders.running(folder)) == []
