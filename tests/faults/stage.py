"""What every test of faults has: upstream, players, a folder, chance, and how much of each fault is tried."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults import books
from tests.faults.load import Notes, Theatre
from tests.faults.servers import Recorder

PLAYERS = 10


@dataclass(frozen=True)
class Scale:
    """The numbers of one run.

    Attributes:
        rounds: Kills of each kind.
        kill_within_s: The longest time before each.
        outage_s: How long a server is stopped or hangs.
        locked_s: How long a file is locked.
        rate: Requests a second of all players together.
        slow_s: How much longer than on the way to upstream itself a request may take. A machine that runs other tests
            may take long by itself; a request that waited for a store that is away would take two seconds.
        exchanges: Through several recorders on one store.
        recorders: So many.
        malformed: Requests beside a player.
        farewells: Requests whose sender goes at once.
        idle: Connections on which nothing is sent.
        body_mib: Size of a body that is stored in part.
    """

    rounds: int
    kill_within_s: float
    outage_s: float
    locked_s: float
    rate: float
    slow_s: float
    exchanges: int
    recorders: int
    malformed: int
    farewells: int
    idle: int
    body_mib: int


SOME = Scale(
    rounds=2,
    kill_within_s=0.6,
    outage_s=2,
    locked_s=2,
    rate=100,
    slow_s=1.5,
    exchanges=1_600,
    recorders=2,
    malformed=500,
    farewells=10,
    idle=300,
    body_mib=12,
)
ALL = Scale(
    rounds=50,
    kill_within_s=1.5,
    outage_s=30,
    locked_s=60,
    rate=100,
    slow_s=0.1,
    exchanges=200_000,
    recorders=8,
    malformed=10_000,
    farewells=50,
    idle=2_000,
    body_mib=200,
)


@dataclass(frozen=True)
class Stage:
    """Where a test plays."""

    theatre: Theatre
    folder: Path
    scale: Scale
    chance: random.Random

    @contextmanager
    def recorder(self, store_url: str, *options: str, files: tuple[int, int] | None = None) -> Iterator[Recorder]:
        """Give a recorder that runs; the test may end it, and start it again. ``files`` as for `Recorder`."""
        found = Recorder(self.folder, self.theatre.upstream.url, store_url, *options, files=files)
        try:
            found.start()
            yield found
        finally:
            found.end()

    @contextmanager
    def playing(self, proxy: Recorder, *, rate: float | None = None) -> Iterator[Notes]:
        """Let players play through a recorder meanwhile."""
        with self.theatre.playing([proxy.port], players=PLAYERS, rate=rate or self.scale.rate) as notes:
            yield notes

    def assert_kept(self, notes: Notes, store_url: str) -> books.Sums:
        """Fail unless all that was answered went to upstream once and is stored once, in order; return the books."""
        assert notes.answered
        books.assert_sent_once(notes, self.theatre.upstream)
        books.assert_stored_once(notes, store_url)
        books.assert_in_order(notes, store_url)
        return books.assert_balanced(store_url, unsure=len(notes.unsure))
