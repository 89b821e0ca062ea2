"""What is found in a journal at a start: whatever it is, what can be read is filed, and nothing is thrown away."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.faults import books
from tests.faults.load import ID
from tests.faults.servers import journal_of
from tests.faults.stage import Stage
from tests.faults.test_outages import locked


def test_what_is_whole_of_a_damaged_journal_is_filed_and_the_rest_is_set_aside(stage: Stage, sqlite_url: str) -> None:
    journal = journal_of(sqlite_url)
    with stage.recorder(sqlite_url) as proxy:
        with locked(Path(sqlite_url.removeprefix("sqlite:///"))):
            with stage.playing(proxy) as notes:
                time.sleep(1)
            proxy.kill()
            proxy.kill_ingest()
        (segment,) = journal.glob("*.tape")
        newer = journal / "00ff.000.000001.tape"
        newer.write_bytes(segment.read_bytes())
        with closing(sqlite3.connect(newer)) as db:
            db.execute("PRAGMA user_version = 999")
        unready = journal / f"{segment.stem}9.tape.new"
        unready.write_bytes(b"not ready")
        spoil(segment.with_name(f"{segment.name}-wal"))
        proxy.start()
        books.drain(sqlite_url)
        proxy.stop()
    stored = {row.id for row in books.rows(sqlite_url)}
    assert 0 < len(stored & notes.answered.keys()) < len(notes.answered)
    assert [path.name for path in (journal / "aside").glob("*.tape")] == [segment.name]
    assert f"{segment.name} is damaged" in proxy.output
    assert newer.exists()
    assert "newer version" in proxy.output
    assert not unready.exists()
    assert "Traceback" not in proxy.output


def test_an_entry_that_the_disk_has_changed_is_not_filed(stage: Stage, sqlite_url: str) -> None:
    journal = journal_of(sqlite_url)
    with stage.recorder(sqlite_url) as proxy:
        with locked(Path(sqlite_url.removeprefix("sqlite:///"))):
            with stage.playing(proxy) as notes:
                time.sleep(0.5)
            proxy.kill()
            proxy.kill_ingest()
        (segment,) = journal.glob("*.tape")
        with closing(sqlite3.connect(segment)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        changed = change_an_id(segment)
        proxy.start()
        books.drain(sqlite_url)
        proxy.stop()
    stored = {row.id for row in books.rows(sqlite_url)}
    assert stored <= notes.answered.keys()
    assert changed not in stored
    assert stored
    assert [path.name for path in (journal / "aside").glob("*.tape")] == [segment.name]
    assert "they have been changed" in proxy.output


def change_an_id(path: Path) -> str:
    """Change the id in the body of a request in the middle of a file, which leaves all else as it was; return the old one."""
    data = path.read_bytes()
    found = [*ID.finditer(data)]
    begin, end = found[len(found) // 2].span(1)
    path.write_bytes(data[:begin] + b"x" * (end - begin) + data[end:])
    return data[begin:end].decode()


def spoil(path: Path) -> None:
    """Change every byte of a page in the middle of what is in use of a log."""
    data = bytearray(path.read_bytes())
    middle = len(data.rstrip(b"\0")) // 2
    data[middle : middle + 4096] = bytes(each ^ 0xFF for each in data[middle : middle + 4096])
    path.write_bytes(data)
