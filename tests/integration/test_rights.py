"""Stores that the user may not write, or not even look at."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from storage.engine import Store
from tests import builders, processes
from tests.e2e.test_hard_cases import save


@contextmanager
def mode_of(path: Path, mode: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


def ran(store: Path, *arguments: str, code: int) -> tuple[str, str]:
    """Run a command without the rights of root; return what it wrote."""
    command = [processes.COMMAND, *arguments, "--store", f"sqlite:///{store}"]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
        if shutil.which("setpriv") is None:
            pytest.skip("root may do everything, and there is no setpriv here")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def path(migrated_file: Path, tmp_path: Path) -> Path:
    """A store with one session, in a folder of its own."""
    (tmp_path / "kept").mkdir()
    path = Path(shutil.copy(migrated_file, tmp_path / "kept" / "tape.db"))
    with closing(Store(f"sqlite:///{path}")) as store:
        save(store, builders.start(id="s1"))
    assert [each.name for each in path.parent.iterdir()] == ["tape.db"]
    return path


def test_a_store_in_a_folder_that_nobody_can_write_is_read(path):
    with mode_of(path, 0o444), mode_of(path.parent, 0o555):
        said, _ = ran(path, "show", "last", code=0)
        assert "sessionStart" in said
    path.with_name("tape.db-wal").write_bytes(b"what a recorder left")
    with mode_of(path, 0o444), mode_of(path.parent, 0o555):
        _, told = ran(path, "sessions", code=2)
        assert "part of it is in tape.db-wal, and its folder cannot be written\n  copy both to" in told


def test_what_cannot_be_deleted_is_not_counted(path):
    with mode_of(path, 0o400):
        for command in (("delete", "last", "--yes"), ("db", "prune", "--older-than", "1", "--yes")):
            said, told = ran(path, *command, code=2)
            assert said == ""
            assert "attempt to write a readonly database" in told


def test_a_folder_that_nobody_may_look_into_is_named_as_the_cause(path):
    with mode_of(path.parent, 0):
        for command in ("sessions", "ledger"):
            _, told = ran(path, command, code=2)
            assert (
                told
                == f"sessiontape: cannot open sqlite:///{path}: Permission denied\n  may you read and write there?\n"
            )
