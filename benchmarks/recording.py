"""What recording costs, beside what others need for less: plain mitmdump, mitmdump -w, nginx, and mountebank.

All of them stand in front of the same upstream and get the same load in turn, in rounds of 2 s, so that a noisy machine
disturbs all alike. Ours judges, holds each answer until its exchange is on disk, and files what it has seen meanwhile;
mitmdump -w writes a file without waiting for the disk, mountebank keeps all in memory, and the others keep nothing.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sqlalchemy import func, select

from benchmarks import load, peers
from benchmarks.load import Load
from benchmarks.peers import Peer
from storage.engine import Store
from storage.models import ExchangeRow, SessionRow
from tests import postgres

ROUNDS = 5
ROUND_S = 2
LONG_S = 60
MOST = 32
"""Connections of a busy proxy; one connection tells what a lone request waits."""
STORES = ("SQLite", "PostgreSQL")
VISIBLE = 50
"""How many requests are followed until they can be read from the store."""


@dataclass
class _Series:
    """What was measured of one peer, round by round."""

    one: list[Load] = field(default_factory=list)
    many: list[Load] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    memory_mib: float = 0.0


def run() -> Iterator[str]:
    """Measure, and yield lines to print."""
    with ExitStack() as running:
        upstream = running.enter_context(peers.upstream())
        urls = running.enter_context(stores())
        yield from _rounds(upstream, urls)
        for name, url in urls.items():
            yield from _long(upstream, name, url)
        yield from _workers(upstream, urls["SQLite"])
        for name, url in urls.items():
            yield from _visible(upstream, name, url)


@contextmanager
def stores() -> Iterator[Mapping[str, str]]:
    """Give the URLs of two empty stores, on disk as users have them."""
    settings = postgres.SETTINGS | {"fsync": "on", "synchronous_commit": "on"}
    with ExitStack() as running:
        folder = running.enter_context(tempfile.TemporaryDirectory(prefix="sessiontape-bench-"))
        server = running.enter_context(postgres.running(settings))
        yield {"SQLite": f"sqlite:///{folder}/tape.db", "PostgreSQL": running.enter_context(server.database())}


def _rounds(upstream: str, urls: Mapping[str, str]) -> Iterator[str]:
    ways: dict[str, Callable[[], AbstractContextManager[Peer]]] = {
        "mitmdump": lambda: peers.mitmdump(upstream),
        "mitmdump -w": lambda: peers.mitmdump(upstream, "-w", "t.flow"),
        **{f"record, {name}": lambda url=url: peers.record(upstream, url) for name, url in urls.items()},  # type: ignore[misc]
        "record, TLS": lambda: peers.record(upstream, f"{urls['SQLite']}.tls"),
        "nginx": lambda: peers.nginx(upstream),
        "mountebank": lambda: peers.mountebank(upstream),
    }
    if not shutil.which("nginx"):
        del ways["nginx"]
    if not shutil.which("npm"):
        del ways["mountebank"]
    series = {name: _Series() for name in ways}
    for number in range(ROUNDS):
        for name, way in ways.items():
            with way() as peer:
                _measure(peer, series[name], number, tls="TLS" in name)
    plain = series["mitmdump"]
    yield f"{'':20}{'x mitmdump':>11}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'p50, 1 conn':>13}{'CPU us':>9}{'MiB':>6}"
    for name, each in series.items():
        ratio = _median(one.per_s / other.per_s for one, other in zip(each.many, plain.many, strict=True))
        figures = (
            _median(one.per_s for one in each.many),
            *(_median(getattr(one, which) for one in each.many) for which in ("p50_ms", "p99_ms")),
            _median(one.p50_ms for one in each.one),
            _median(each.cpu_us),
        )
        shown = "{:12.0f}{:9.2f}{:9.2f}{:13.2f}{:9.0f}".format(*figures)
        failed = sum(one.failed for one in (*each.one, *each.many))
        yield f"{name:20}{ratio:11.1f}{shown}{each.memory_mib:6.0f}" + (f"   {failed} failed" if failed else "")
    yield f"  medians of {ROUNDS} rounds of {ROUND_S} s with {MOST} connections; goal for record: at least 8"


def _measure(peer: Peer, series: _Series, number: int, *, tls: bool) -> None:
    url = peer.url.replace("http:", "https:") if tls else peer.url
    load.pings(url, 4, 1, seed=1_000_000 + number)  # warms up
    series.one.append(load.pings(url, 1, 1, seed=2_000_000 + number))
    before_s = peer.cpu_s()
    series.many.append(load.pings(url, MOST, ROUND_S, seed=number))
    series.cpu_us.append((peer.cpu_s() - before_s) / series.many[-1].requests * 1e6)
    series.memory_mib = max(series.memory_mib, peer.memory_mib())


def _long(upstream: str, name: str, url: str) -> Iterator[str]:
    """Tell how much is answered, and filed in the same time, without a pause."""
    with peers.mitmdump(upstream) as peer:
        plain = load.pings(peer.url, MOST, ROUND_S * 5, seed=70)
    with peers.record(upstream, url) as peer:
        load.pings(peer.url, 4, 1, seed=71)
        before = _settled(url)
        cpu_s = peer.cpu_s()
        answered = load.pings(peer.url, MOST, LONG_S, seed=72)
        filed = stored(url) - before
        cpu_us = (peer.cpu_s() - cpu_s) / answered.requests * 1e6
        began_s = time.monotonic()
        after = _settled(url) - before
        took_s = time.monotonic() - began_s
        memory = peer.memory_mib()
    yield (
        f"{LONG_S} s without a pause, {name}: answered {answered.per_s:.0f}/s = {answered.per_s / plain.per_s:.1f} x mitmdump, "
        f"filed {filed / answered.seconds:.0f}/s = {filed / answered.seconds / plain.per_s:.1f} x   (goal: filed at least 5 x)"
    )
    yield (
        f"  p50 {answered.p50_ms:.2f} ms, p99 {answered.p99_ms:.2f} ms, CPU {cpu_us:.0f} us, {memory:.0f} MiB; the rest of "
        f"{after - filed} filed in {took_s:.1f} s; missing: {answered.requests - after}"
    )


def _workers(upstream: str, url: str) -> Iterator[str]:
    """Tell what a second process is worth, on a machine that has a core for it."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for number in range(ROUNDS):
        for workers, found in rates.items():
            with peers.record(upstream, url, "--workers", str(workers)) as peer, _paused(peer):
                load.pings(peer.url, 64, 1, seed=80)
                found.append(load.pings(peer.url, 64, ROUND_S, seed=81 + number).per_s)
    ratio = _median(two / one for one, two in zip(rates[1], rates[2], strict=True))
    yield f"two workers / one, 64 connections, filing paused: {ratio:.2f}   (goal: at least 1.3 on two cores)"


@contextmanager
def _paused(peer: Peer) -> Iterator[None]:
    """Stop the process that files, for as long as the block takes."""
    found = peer.below("proxy_addon.ingest")
    assert found, "nobody files"
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in found:
            os.kill(pid, signal.SIGCONT)


def _visible(upstream: str, name: str, url: str) -> Iterator[str]:
    """Tell how long after its answer an exchange can be read from the store."""
    took_ms = []
    session_id = "f" * 64  # which no load has
    with ExitStack() as running:
        peer = running.enter_context(peers.record(upstream, url))
        netloc = urlsplit(peer.url).netloc
        connection = running.enter_context(closing(http.client.HTTPConnection(netloc, timeout=30)))
        store = running.enter_context(closing(Store(url)))
        for number in range(VISIBLE):
            body = b'{"eventType":"ping","playerTime":{"playhead":%d,"ts":1700000000000}}' % number
            connection.request("POST", f"/api/v1/sessions/{session_id}/events", body)
            connection.getresponse().read()
            began_s = time.monotonic()
            while _seen(store, session_id) <= number:
                time.sleep(0.001)
            took_ms.append((time.monotonic() - began_s) * 1e3)
    quantiles = statistics.quantiles(took_ms, n=20)
    yield f"answer to visible, {name}: p50 {quantiles[9]:.0f} ms, p95 {quantiles[18]:.0f} ms"


def _seen(store: Store, session_id: str) -> int:
    with store.read() as db:
        query = select(SessionRow.exchanges).where(SessionRow.session_prefix == session_id)
        return int(db.execute(query).scalar() or 0)


def stored(url: str) -> int:
    """Return how many exchanges a store has."""
    with closing(Store(url)) as store, store.read() as db:
        return int(db.execute(select(func.count()).select_from(ExchangeRow)).scalar_one())


def _settled(url: str) -> int:
    """Return how many exchanges a store has once no more are added."""
    before = -1
    while (now := stored(url)) != before:
        before = now
        time.sleep(1)
    return now


def _median(values: Sequence[float] | Iterator[float]) -> float:
    return statistics.median(values)
