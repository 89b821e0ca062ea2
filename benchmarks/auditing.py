"""What an audit costs: an exchange of 1,000,000 and one of 10,000, by one process and several, and by pandas; and Parquet.

pandas gets the events as a CSV file, which is how they leave other recorders, and works out a part of what an audit says:
which keys are on which events, with how many distinct values and which; findings by rule; gaps between pings; latency.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.parts import BIN
from benchmarks.recording import stored
from storage import migrate
from storage.engine import Store
from tests import postgres
from tests.many import fill

NONE, FEW, MANY = 1, 10_000, 1_000_000
_BESIDE = 20
"""How many audits of the few come before one of the many, and behind it: the machine is not the same from minute to minute."""
_PEER = Path(__file__).with_name("auditing_peer.py")


@dataclass(frozen=True)
class _Took:
    """What a command took, with all processes that it has started: seconds, and MiB of the largest of them."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def run(size: int = MANY) -> Iterator[str]:
    """Measure, and yield lines to print."""
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="sessiontape-bench-")))
        server = running.enter_context(postgres.running(postgres.SETTINGS | {"fsync": "on"}))
        sqlite: Mapping[int, str] = {}
        for engine in ("SQLite", "PostgreSQL"):
            urls = {
                each: f"sqlite:///{folder}/{each}.db"
                if engine == "SQLite"
                else running.enter_context(server.database())
                for each in (NONE, FEW, size)
            }
            for each, url in urls.items():
                _fill(url, each)
            sqlite = sqlite or urls
            yield from _told(engine, urls, size)
            if engine == "PostgreSQL":
                before_s = _server_s(server)
                _took(_audit(urls[size], "--jobs", "1"))
                each_us = (_server_s(server) - before_s) / stored(urls[size]) * 1e6
                yield f"  CPU of PostgreSQL itself: {each_us:.1f} us per exchange"
        yield from _exported(folder, sqlite, size)
        yield from _beside_pandas(folder, sqlite[size])


def _fill(url: str, size: int) -> None:
    with closing(Store(url, durable=False)) as store:
        store.create_file()
        migrate.upgrade(store)
    fill(url, size)


def _told(engine: str, urls: Mapping[int, str], size: int) -> Iterator[str]:
    begin, few = _Mean(), _Mean()

    def beside() -> None:
        for _ in range(_BESIDE):
            begin.add(_took(_audit(urls[NONE], "--jobs", "1")))
            few.add(_took(_audit(urls[FEW], "--jobs", "1")))

    beside()
    alone = _took(_audit(urls[size], "--jobs", "1"))
    beside()
    many_us = (alone.cpu_s - begin.cpu_s) / stored(urls[size]) * 1e6
    few_us = (few.cpu_s - begin.cpu_s) / stored(urls[FEW]) * 1e6
    yield f"{engine}: {many_us:.1f} us of CPU per exchange of {size:,}   (goal: 40)"
    yield f"  of {FEW:,}: {few_us:.1f} us; ratio {many_us / few_us:.2f}   (goal: within 10 %)"
    ratio = alone.peak_mib / few.peak_mib
    yield f"  peak memory {alone.peak_mib:.0f} and {few.peak_mib:.0f} MiB; ratio {ratio:.2f}   (goal: within 10 %)"
    for how in (("--jobs", "1"), ("--jobs", "2"), ("--jobs", "4"), ("--engine", "dask")):
        took = alone if how == ("--jobs", "1") else _took(_audit(urls[size], *how))
        yield f"  {' '.join(how)}: {took.wall_s:.1f} s, {took.cpu_s:.1f} s of CPU, {took.peak_mib:.0f} MiB in the largest process"


class _Mean:
    """What a command took that was run several times.

    Attributes:
        cpu_s: The mean.
        peak_mib: The most.
    """

    def __init__(self) -> None:
        self.cpu_s = self.peak_mib = 0.0
        self._number = 0

    def add(self, took: _Took) -> None:
        self._number += 1
        self.cpu_s += (took.cpu_s - self.cpu_s) / self._number
        self.peak_mib = max(self.peak_mib, took.peak_mib)


def _audit(url: str, *how: str) -> list[str]:
    return [str(BIN / "sessiontape"), "audit", "--store", url, "--fail-on", "never", "--json", *how]


_METER = """
import json, resource, subprocess, sys, time
began_s = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
wall_s, used = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"wall_s": wall_s, "cpu_s": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024}))
"""
"""A small process of its own, because the memory of the one that starts a command counts as that command's until it runs."""


def _took(command: Sequence[str], **environment: str) -> _Took:
    metered = subprocess.run(
        [sys.executable, "-S", "-c", _METER, *command],
        stdout=subprocess.PIPE,
        env=os.environ | environment,
        check=True,
    )
    return _Took(**json.loads(metered.stdout))


def _server_s(server: postgres.Server) -> float:
    """Return the CPU that a server and the connections it has closed have taken, in seconds."""
    time.sleep(1)  # until it has waited for the process of the last connection
    pid = (server.folder / "data/postmaster.pid").read_text().split()[0]
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


def _exported(folder: Path, urls: Mapping[int, str], size: int) -> Iterator[str]:
    import duckdb  # noqa: PLC0415  # for this alone, and it is an extra

    for each in (FEW, size):
        events = folder / f"events-{each}"
        command = [str(BIN / "sessiontape"), "export", "--all", "--format", "parquet", "-o", str(events)]
        took = _took([*command, "--store", urls[each]])
        cpu_us = took.cpu_s / stored(urls[each]) * 1e6
        yield f"export of {each:,} to Parquet files: {took.wall_s:.1f} s, {cpu_us:.0f} us of CPU per exchange, {took.peak_mib:.0f} MiB in the largest process"
    began_s = time.perf_counter()
    duckdb.execute(_QUERY.format(events)).fetchall()
    yield f"  the first query of docs/scale.md over the latter: {time.perf_counter() - began_s:.2f} s"


_QUERY = """
    SELECT player_name, count(*) AS pings, median(duration_ms) FROM read_parquet('{}/*/*.parquet', hive_partitioning = true)
    WHERE event_type = 'ping' AND day >= '2026-01-01' GROUP BY player_name ORDER BY pings DESC
"""


def _beside_pandas(folder: Path, url: str) -> Iterator[str]:
    libraries, events = folder / "pandas", folder / "events.csv"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--target", str(libraries), "pandas>=2.2"], check=True
    )
    ours, alone = _took(_audit(url)), _took(_audit(url, "--jobs", "1"))
    command = [str(BIN / "sessiontape"), "export", "--all", "--store", url, "--format", "csv", "-o", str(events)]
    export = _took(command)
    peer = _took([sys.executable, str(_PEER), str(events)], PYTHONPATH=str(libraries))
    yield f"pandas over a CSV file of {events.stat().st_size >> 20} MiB: {peer.wall_s:.1f} s, {peer.peak_mib:.0f} MiB"
    yield f"  the export of that file: {export.wall_s:.1f} s"
    all_s = peer.wall_s + export.wall_s
    yield f"  pandas with the export / an audit: {all_s / ours.wall_s:.1f}   (goal: 3)"
    yield f"  the same / an audit by one process: {all_s / alone.wall_s:.1f}"
    yield f"  pandas without the export / an audit: {peer.wall_s / ours.wall_s:.2f}"
