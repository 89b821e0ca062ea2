"""Stores that are replaced, removed or read-only while a recorder runs: it says so, and loses nothing."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.faults import books
from tests.faults.disks import read_only
from tests.faults.raw import WITHIN_S
from tests.faults.stage import Stage

READ_ONLY = "attempt to write a readonly database"


def file_of(store_url: str) -> Path:
    return Path(store_url.removeprefix("sqlite:///"))


def put_away(path: Path) -> Path:
    """Move a SQLite file, with what belongs to it; return where it is then."""
    to = path.with_name(f"old-{path.name}")
    for suffix in ("-wal", "-shm", ""):
        each = path.with_name(path.name + suffix)
        if each.exists():
            each.rename(to.with_name(to.name + suffix))
    return to


def test_what_comes_after_a_store_was_replaced_is_in_the_one_that_stands_there(
    stage: Stage, sqlite_url: str, migrated_file: Path
) -> None:
    path = file_of(sqlite_url)
    with stage.recorder(sqlite_url) as proxy:
        with stage.playing(proxy) as notes:
            time.sleep(0.5)
            books.drain(sqlite_url)
            old = put_away(path)
            shutil.copy(migrated_file, path)
            time.sleep(1)
        books.drain(sqlite_url)
        proxy.stop()
    stored = [{row.id for row in books.rows(url)} for url in (sqlite_url, f"sqlite:///{old}")]
    assert all(stored)
    assert notes.answered.keys() <= set.union(*stored)
    assert "replaced" in proxy.output
    assert "Traceback" not in proxy.output


def test_what_comes_after_a_store_was_removed_is_kept(stage: Stage, sqlite_url: str, migrated_file: Path) -> None:
    path = file_of(sqlite_url)
    with stage.recorder(sqlite_url) as proxy:
        with stage.playing(proxy) as before:
            time.sleep(0.5)
        books.drain(sqlite_url)
        old = put_away(path)
        with stage.playing(proxy) as notes:
            time.sleep(0.5)
        proxy.stop(2)
        if not path.exists():
            shutil.copy(migrated_file, path)
    books.drain(sqlite_url)
    assert before.answered.keys() <= {row.id for row in books.rows(f"sqlite:///{old}")}
    assert notes.answered.keys() <= {row.id for row in books.rows(sqlite_url)}
    assert "was moved to" in proxy.output


def test_what_a_read_only_store_cannot_take_waits_in_the_journal(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    store_url = f"sqlite:///{folder / 'tape.db'}"
    with stage.recorder(store_url, "--journal", str(tmp_path / "journal")) as proxy:
        with stage.playing(proxy) as notes:
            time.sleep(0.3)
            with read_only(folder):
                proxy.kill_ingest()  # the next one opens the store anew
                until_s = time.monotonic() + WITHIN_S
                while READ_ONLY not in proxy.output and time.monotonic() < until_s:
                    time.sleep(0.1)
            time.sleep(0.3)
        books.drain(store_url)
        proxy.stop()
    assert stage.assert_kept(notes, store_url).dropped == 0
    assert notes.slowest_s() < stage.scale.slow_s + notes.machine_s()
    assert READ_ONLY in proxy.output
