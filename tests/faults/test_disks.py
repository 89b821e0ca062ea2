"""Disks that are full: traffic goes on, what can be kept is kept, and what is lost is counted and named, once."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests import processes
from tests.builders import body, event_dict
from tests.faults import books, raw
from tests.faults.disks import disk
from tests.faults.servers import Recorder
from tests.faults.stage import Stage
from tests.faults.test_outages import last_run, until

LOST = re.compile(r"\blost: (\S+) (\S+) of ")
SLOW_S = 10.0
"""Two megabytes through a machine that runs other tests."""


def big(id: str, size: int = 2_000_000) -> bytes:
    """Return a request of two megabytes."""
    events = [event_dict("sessionStart"), event_dict("play", customMetadata={"id": id, "x": "y" * size})]
    return raw.post("/api/v1/downloaded", body(events))


def send_big(proxy: Recorder, count: int) -> None:
    """Send so many megabytes, twice; each is answered soon."""
    with raw.device(proxy.port) as device:
        for number in range(count):
            began_s = time.monotonic()
            device.send(big(f"big-{number}"))
            assert device.message().startswith(b"HTTP/1.1 204")
            assert time.monotonic() - began_s < SLOW_S


def test_a_full_journal_costs_no_answer_and_what_memory_cannot_hold_is_named(stage: Stage, tmp_path: Path) -> None:
    store_url = f"sqlite:///{tmp_path / 'tape.db'}"
    with (
        disk(tmp_path / "journal", size_mib=200) as journal,
        stage.recorder(store_url, "--journal", str(journal.folder)) as proxy,
    ):
        with stage.playing(proxy) as notes:
            time.sleep(0.3)
            journal.fill()
            time.sleep(0.3)
            send_big(proxy, 50)  # memory holds 64 MiB
            time.sleep(0.3)
            journal.free()
            time.sleep(2)  # what memory holds is tried again twice a second
        books.drain(store_url)
        proxy.stop(2)
    assert not notes.refused
    assert not notes.unsure
    lost = LOST.findall(proxy.output)
    found = books.assert_balanced(store_url)
    assert 0 < found.dropped == len(lost)
    assert found.seen == len(stage.theatre.upstream.received)
    missing = notes.answered.keys() - {row.id for row in books.rows(store_url)}
    assert len(missing) + sum(path == "/api/v1/downloaded" for _, path in lost) == found.dropped


@pytest.mark.parametrize("workers", [1, 2])
def test_a_journal_that_is_full_at_the_end_does_not_keep_losses_out_of_the_ledger(
    stage: Stage, tmp_path: Path, workers: int
) -> None:
    store_url = f"sqlite:///{tmp_path / 'tape.db'}"
    with (
        disk(tmp_path / "journal", size_mib=3) as journal,
        stage.recorder(store_url, "--journal", str(journal.folder), "--workers", str(workers)) as proxy,
        raw.device(proxy.port) as device,
    ):
        for number in range(16):
            if number == 3:
                until(lambda: last_run(store_url)["filed"] == 3)
                journal.fill()
            device.send(raw.post("/api/v1/sessions", body(event_dict("sessionStart"))))
            device.message()
        proxy.stop(2)
        lost = LOST.findall(proxy.output)
        assert len(lost) > 10
        shown = processes.printed("ledger", "last", "--store", store_url)
        assert (shown["state"], shown["seen"], shown["dropped"]) == ("ended", 16, len(lost))
        assert (len(shown["losses"]), shown["unnamed_losses"], shown["balanced"]) == (len(lost), 0, True)
    books.assert_balanced(store_url)


def test_a_disk_that_stays_full_for_store_and_journal_keeps_losses_for_the_ledger(stage: Stage, tmp_path: Path) -> None:
    with disk(tmp_path / "both", size_mib=8) as full:
        store_url = f"sqlite:///{full.folder / 'tape.db'}"
        with stage.recorder(store_url) as proxy, raw.device(proxy.port) as device:
            for number in range(16):
                if number == 3:
                    until(lambda: last_run(store_url)["filed"] == 3)
                    full.fill()
                device.send(raw.post("/api/v1/sessions", body(event_dict("sessionStart"))))
                device.message()
            proxy.stop(2)
        lost = LOST.findall(proxy.output)
        full.free()
        books.drain(store_url)
        found = books.assert_balanced(store_url)
        assert (found.seen, found.dropped) == (16, len(lost))
        assert lost


def test_what_does_not_fit_on_the_disk_at_the_end_takes_nothing_else_with_it(stage: Stage, tmp_path: Path) -> None:
    store_url = f"sqlite:///{tmp_path / 'tape.db'}"
    with (
        disk(tmp_path / "journal", size_mib=2) as journal,
        stage.recorder(store_url, "--journal", str(journal.folder)) as proxy,
        raw.device(proxy.port) as device,
    ):
        small = raw.post("/api/v1/sessions", body(event_dict("sessionStart")))
        for number in range(18):
            if number == 3:
                until(lambda: last_run(store_url)["filed"] == 3)
                journal.fill()
            device.send(big(f"big-{number}", 3_000_000) if number in (11, 13, 15) else small)
            device.message()
        journal.free()
        time.sleep(1.5)  # it is tried again twice a second, in vain as long as all of it is tried together
        proxy.stop(2)
        lost = LOST.findall(proxy.output)
        assert [path for _, path in lost] == ["/api/v1/downloaded"] * 3, proxy.output
        assert "15 exchanges stored, 3 lost" in proxy.output
        found = books.assert_balanced(store_url)
        assert (found.seen, found.filed, found.dropped) == (18, 15, 3)


def test_what_a_full_store_cannot_take_waits_in_the_journal(stage: Stage, tmp_path: Path) -> None:
    with disk(tmp_path / "store", size_mib=8) as full:
        store_url = f"sqlite:///{full.folder / 'tape.db'}"
        with stage.recorder(store_url, "--journal", str(tmp_path / "journal")) as proxy:
            with stage.playing(proxy) as notes:
                time.sleep(0.3)
                full.fill()
                time.sleep(stage.scale.outage_s)
                full.free()
                time.sleep(0.3)
            books.drain(store_url)
            proxy.stop()
        assert stage.assert_kept(notes, store_url).dropped == 0
    assert notes.slowest_s() < stage.scale.slow_s + notes.machine_s()
    assert not LOST.search(proxy.output)


def test_a_disk_that_is_full_for_store_and_journal_loses_nothing_that_memory_holds(
    stage: Stage, tmp_path: Path
) -> None:
    with disk(tmp_path / "both", size_mib=8) as full:
        store_url = f"sqlite:///{full.folder / 'tape.db'}"
        with stage.recorder(store_url) as proxy:
            with stage.playing(proxy) as notes:
                time.sleep(0.3)
                full.fill()
                time.sleep(stage.scale.outage_s)
                full.free()
                time.sleep(0.3)
            # What memory held is tried again twice a second.
            until(lambda: last_run(store_url)["filed"] >= len(notes.answered))
            books.drain(store_url)
            proxy.stop()
        assert stage.assert_kept(notes, store_url).dropped == 0
    assert notes.slowest_s() < stage.scale.slow_s + notes.machine_s()
    assert not LOST.search(proxy.output)
