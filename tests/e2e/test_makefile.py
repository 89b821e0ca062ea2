"""``make help``, where a newcomer looks for what can be done with a checkout."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_make_help_lists_every_target_in_80_columns():
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (targets,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = done.stdout.splitlines()
    assert sorted(line.split()[1] for line in lines) == sorted(targets.split())
    assert max(map(len, lines)) <= 80
    assert all(len(line.split()) > 2 for line in lines)


def test_what_takes_a_minute_is_said_first(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] && exec echo 3.13.1\nexit 7\n', encoding="utf-8")
    python.chmod(0o755)
    command = ["sh", str(ROOT / "bin" / "venv"), str(tmp_path / "made"), "requirements.lock", str(python)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7, "this Python makes nothing"
    assert done.stderr == f"making {tmp_path / 'made'} with Python 3.13.1 (a minute)\n"


def test_make_deletes_no_environment_that_it_has_not_made(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] && exec echo 3.13.1\nexit 7\n', encoding="utf-8")
    python.chmod(0o755)
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "pyvenv.cfg").touch()
    command = ["sh", str(ROOT / "bin" / "venv"), str(folder), "requirements.lock", str(python)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"bin/venv: {folder} is not from make, which would delete it; move it away\n"
    assert (folder / "pyvenv.cfg").exists()

    (folder / ".by-make").touch()  # it was interrupted
    assert subprocess.run(command, capture_output=True, check=False).returncode == 7
    assert not (folder / "pyvenv.cfg").exists()
    assert "-m venv .venv" not in (ROOT / "README.md").read_text(encoding="utf-8"), "that would be in make's way"


def test_git_ignores_a_store_and_all_that_a_recorder_puts_beside_it():
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout of git")
    names = [f"sessiontape.db{ending}" for ending in ("", "-wal", "-shm", ".journal/ingest.lock")]
    done = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == names
