"""How a recorder stands, put together from what its processes and ingest have told."""

from __future__ import annotations

import pytest

from proxy_addon.journal.messages import Counts
from proxy_addon.journal.reading import Waiting
from proxy_addon.journal.space import Space
from proxy_addon.recording.meters import Meter, Standing
from proxy_addon.recording.standing import Told, standing_of

METER = Meter().document()
TWO = [Told(meter=METER, seen=5, journaled=4), Told(meter=METER, seen=3, journaled=2, dropped=1)]
INGEST = Counts(filed=6, refused=1, findings={"error": 2})


def test_the_counts_of_all_processes_are_added_up():
    left = Waiting(exchanges=7, bytes=4096, oldest_us=90_000_000)
    assert standing_of(TWO, INGEST, left, Space(3 * 2**40, 4 * 2**40), 100.0) == Standing(
        workers=2, seen=8, journaled=6, dropped=1, filed=6, refused=1, findings={"error": 2}, exchanges=7, bytes=4096,
        oldest_s=10.0, free=3 * 2**40,
    )  # fmt: skip
    assert standing_of(TWO, INGEST, None, None, 100.0).oldest_s == 0


@pytest.mark.parametrize(
    ("told", "ingest", "waited_s", "trouble"),
    [
        (
            [Told(meter=METER, trouble="No space left on device")] * 2,
            INGEST,
            1,
            "the journal cannot be written: No space",
        ),
        (TWO, None, 1, "no process files what is in the journal"),
        (TWO, Counts(filed=0, findings={}, store_state="connection refused"), 400, "the store is away: connection ref"),
        (TWO, INGEST, 400, "what is in the journal is filed too slowly: the oldest exchange waits for 400 s"),
    ],
)
def test_what_is_wrong_is_named_once(told, ingest, waited_s, trouble):
    now = standing_of(told, ingest, Waiting(exchanges=1, bytes=1, oldest_us=0), None, waited_s)
    (found,) = now.troubles
    assert found.startswith(trouble)
    assert now.is_ingest_up is (ingest is not None)
    assert now.is_store_up is (ingest is INGEST)


def test_an_ingest_that_hangs_is_not_up():
    now = standing_of(TWO, INGEST, Waiting(exchanges=1, bytes=1, oldest_us=0), None, 50.0, silent_s=45.0)
    assert now.troubles == ("the process that files what is in the journal has told nothing for 45 s",)
    assert (now.is_ingest_up, now.is_store_up) == (False, True)


def test_a_process_that_has_ended_counts_but_has_no_trouble_any_more():
    ended = Told(meter=METER, seen=9, dropped=9, trouble="No space left on device", has_ended=True)
    now = standing_of([*TWO, ended], INGEST, None, None, 1.0)
    assert (now.workers, now.seen, now.dropped, now.troubles) == (2, 17, 10, ())


@pytest.mark.parametrize(
    ("free", "total", "is_low"),
    [
        (2**30 - 2**20, 8 * 2**30, True),
        (2**30, 8 * 2**30, False),
        (4 * 2**30, 100 * 2**30, True),
        (10 * 2**30, 2**40, False),
    ],
)
def test_a_disk_that_is_nearly_full_is_named(free, total, is_low):
    now = standing_of(TWO, INGEST, None, Space(free, total), 1.0)
    assert now.free == free
    expected = f"the disk of the journal is nearly full: {free // 2**20:,} MiB are free"
    assert now.troubles == ((expected,) if is_low else ())
