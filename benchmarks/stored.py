"""Whether a recorder slows down as its store fills: with 1,000 and with 1,000,000 exchanges stored."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path

from benchmarks import load, peers
from benchmarks.peers import Peer
from benchmarks.recording import stored
from proxy_addon.core.exchange import Exchange, Headers, Request, Response
from storage import migrate, saving
from storage.engine import Store
from tests import postgres

FEW, MANY = 1_000, 1_000_000
PINGS = 100
"""How many exchanges a stored session has."""
ROUNDS = 7
ROUND_S = 3
_BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
_HEADERS: Headers = (
    ("Content-Type", "application/json"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
    ("Origin", "https://tv.example"),
)


@dataclass
class _Series:
    per_s: list[float] = field(default_factory=list)
    filing_us: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)


def run() -> Iterator[str]:
    """Measure, and yield lines to print."""
    settings = postgres.SETTINGS | {"fsync": "on"}
    with ExitStack() as running:
        upstream = running.enter_context(peers.upstream())
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="sessiontape-bench-")))
        server = running.enter_context(postgres.running(settings))
        for engine in ("SQLite", "PostgreSQL"):
            urls = {
                size: f"sqlite:///{folder}/{size}.db"
                if engine == "SQLite"
                else running.enter_context(server.database())
                for size in (FEW, MANY)
            }
            for size, url in urls.items():
                fill(url, size)
            series = {size: _Series() for size in urls}
            for number in range(ROUNDS):
                for size, url in urls.items():
                    with peers.record(upstream, url) as peer:
                        _measure(peer, url, series[size], number)
            yield from _told(engine, series)


def _measure(peer: Peer, url: str, series: _Series, number: int) -> None:
    load.pings(peer.url, 4, 1, seed=number)  # warms up
    before, cpu_s = stored(url), _filing(peer)
    series.per_s.append(load.pings(peer.url, 32, ROUND_S, seed=1_000 + number).per_s)
    series.filing_us.append((_filing(peer) - cpu_s) / max(1, stored(url) - before) * 1e6)
    series.memory_mib.append(peer.memory_mib())


def _filing(peer: Peer) -> float:
    return sum(Peer("", pid).cpu_s() for pid in peer.below("proxy_addon.ingest"))


def _told(engine: str, series: dict[int, _Series]) -> Iterator[str]:
    few, many = series[FEW], series[MANY]
    for name, which in (("answered/s", "per_s"), ("CPU of filing", "filing_us"), ("memory", "memory_mib")):
        values = [(statistics.median(getattr(each, which))) for each in (few, many)]
        yield f"{engine}, {name}: {values[0]:.0f} with {FEW} stored, {values[1]:.0f} with {MANY}: {values[1] / values[0]:.3f}"
    yield "  (goal: within 5 %)"


def fill(url: str, size: int) -> None:
    """Store sessions of pings until a store has so many exchanges."""
    run = saving.RecordingRun(id=saving.new_id(), name=None, started_at=_BEGIN, version="0")
    with closing(Store(url, durable=False)) as store:
        migrate.upgrade(store)
        for some in batched(range(size), 1_000):
            saving.save_batch(store, run, [saving.Judged(_ping(number), ()) for number in some])


def _ping(number: int) -> Exchange:
    session, at = divmod(number, PINGS)
    body = b'{"eventType":"ping","playerTime":{"playhead":%d,"ts":%d}}' % (at * 10, 1_772_366_400_000 + at * 10_000)
    path = f"/api/v1/sessions/{session:064x}/events"
    return Exchange(
        id=f"{number:032x}",
        upstream="http://127.0.0.1:9",
        received_at=_BEGIN + timedelta(microseconds=number),
        duration_us=2_000,
        client_address="127.0.0.1",
        request=Request(method="POST", path=path, headers=_HEADERS, body=body),
        response=Response(status=204, reason="No Content"),
    )
