"""``record --journal`` and ``db drain --journal``: what is filed goes into the store that it was recorded for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import journals, processes
from tests.builders import body, event_dict, start
from tests.faults import disks


@pytest.fixture
def upstream(tmp_path: Path):
    with processes.collector(tmp_path) as server:
        yield server


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def send(proxy: processes.Server) -> None:
    assert proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart"))).status == 201


def stored(path: Path) -> int:
    return sum(each["exchanges"] for each in processes.printed("sessions", "--store", url(path)))


def test_two_stores_never_share_a_journal(tmp_path, upstream):
    journal = tmp_path / "journal"
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    options = ("--upstream", upstream.url, *processes.ANY_PORT, "--journal", str(journal))
    with processes.recorder(tmp_path, upstream.url, url(one), "--journal", str(journal)) as proxy:
        refused = processes.run("record", *options, "--store", url(other))
        assert refused.returncode == 2
        assert f"{journal} is the journal of {url(one)}, not of {url(other)}" in refused.stderr
        assert not other.exists()
        with processes.recorder(tmp_path, upstream.url, url(one), "--journal", str(journal)) as second:
            send(second)
        send(proxy)
    assert stored(one) == 2
    with processes.recorder(tmp_path, upstream.url, url(other), "--journal", str(journal)) as proxy:
        send(proxy)  # nothing waits there any more
    assert (stored(one), stored(other)) == (2, 1)
    assert "has no journal" not in processes.run("db", "drain", "--store", url(other)).stdout
    assert str(journal) not in processes.run("db", "drain", "--store", url(one)).stdout


def test_what_waits_is_not_drained_into_another_store(tmp_path, upstream):
    journal = tmp_path / "journal"
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    with processes.recorder(tmp_path, upstream.url, url(one), "--journal", str(journal)) as proxy:
        send(proxy)
    journals.write(journal, [journals.entry(start(id="late"))], journals.about("late"))
    processes.run("db", "upgrade", "--store", url(other))
    for command in (
        ["db", "drain", "--journal", str(journal)],
        ["record", "--upstream", upstream.url, *processes.ANY_PORT, "--journal", str(journal)],
    ):
        refused = processes.run(*command, "--store", url(other))
        assert refused.returncode == 2
        assert f"{journal} is the journal of {url(one)}, not of {url(other)}" in refused.stderr
        assert f"delete {journal}/store" in refused.stderr
    assert stored(other) == 0
    done = processes.run("db", "drain", "--journal", str(journal), "--store", url(one))
    assert done.stdout == f"1 exchange filed from {journal}\n"


def test_draining_creates_no_store_in_the_place_of_one_that_was_moved_away(tmp_path, upstream):
    one, journal = tmp_path / "one.db", tmp_path / "one.db.journal"
    with processes.recorder(tmp_path, upstream.url, url(one)) as proxy:
        send(proxy)
    journals.write(journal, [journals.entry(start(id="late"))], journals.about("late"))
    away = one.rename(tmp_path / "away.db")
    refused = processes.run("db", "drain", "--store", url(one))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"there is no store at {url(one)}" in refused.stderr
    assert not one.exists()
    away.rename(one)
    assert processes.run("db", "drain", "--store", url(one)).stdout == f"1 exchange filed from {journal}\n"
    assert stored(one) == 2


def test_a_folder_with_something_else_is_no_journal(tmp_path, upstream):
    one, folder = tmp_path / "one.db", tmp_path / "sources"
    (folder / "aside").mkdir(parents=True)
    (folder / "store").touch()
    (folder / "main.py").touch()
    processes.run("db", "upgrade", "--store", url(one))
    for command in (["db", "drain"], ["record", "--upstream", upstream.url, *processes.ANY_PORT]):
        refused = processes.run(*command, "--journal", str(folder), "--store", url(one))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"{folder} is no journal: aside and 2 more are in it" in refused.stderr
    assert {each.name for each in folder.iterdir()} == {"aside", "main.py", "store"}
    assert not (tmp_path / "one.db.journal").exists()
    disk = tmp_path / "disk"
    (disk / "lost+found").mkdir(parents=True)
    for _ in range(2):
        with processes.recorder(tmp_path, upstream.url, url(one), "--journal", str(disk)) as proxy:
            send(proxy)
    assert processes.run("db", "drain", "--journal", str(disk), "--store", url(one)).returncode == 0


def test_a_store_in_a_folder_that_cannot_be_written_is_told_of_and_not_the_journal(tmp_path, upstream):
    one, journal = tmp_path / "store" / "one.db", tmp_path / "journal"
    one.parent.mkdir()
    with disks.read_only(one.parent):
        options = ("--upstream", upstream.url, *processes.ANY_PORT, "--journal", str(journal), "--store", url(one))
        refused = processes.run("record", *options)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"cannot note in {one}.journal that the journal of {url(one)} is in {journal}: Read-only" in refused.stderr
    assert "name another --store" in refused.stderr
    assert "with --journal" not in refused.stderr
