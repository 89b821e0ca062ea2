"""Load: pings of 256 sessions on connections that are kept, each sent when the one before it is answered.

wrk generates it where it is installed; elsewhere a generator of our own does, which is slower and takes more of the CPU
that the proxy needs, so its figures are lower.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SESSIONS = 256
_SCRIPT = Path(__file__).with_name("pings.lua")
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
_HEAD = (
    "POST /api/v1/sessions/{sid}/events HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nAccept: */*\r\n"
    "Origin: https://tv.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
    "Accept-Language: en-US,en;q=0.9\r\nContent-Length: {length}\r\n\r\n"
)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What became of a load.

    Attributes:
        failed: Requests that were not answered, or not with 2xx.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def per_s(self) -> float:
        """Answered requests a second."""
        return self.requests / self.seconds


def pings(url: str, connections: int, seconds: int, seed: int) -> Load:
    """Send pings for a while.

    Args:
        seed: Loads with different seeds are of different sessions.
    """
    if shutil.which("wrk"):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
        return _read(_output([*command, "-s", str(_SCRIPT), url, "--", str(seed)]))
    ours = [sys.executable, "-m", "benchmarks.load", url, str(connections), str(seconds), str(seed)]
    return Load(**json.loads(_output(ours)))


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _read(told: str) -> Load:
    """Return what wrk has printed as a value."""
    match = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", told)
    assert match is not None, told
    failed = [int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", told)]
    failed += [int(n) for line in re.findall(r"Socket errors: (.*)", told) for n in re.findall(r"\d+", line)]
    latency = {
        int(percent): float(value) * _MS[unit]
        for percent, value, unit in re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s|m)$", told, flags=re.MULTILINE)
    }
    return Load(
        requests=int(match[1]),
        seconds=float(match[2]) * _MS[match[3]] / 1e3,
        p50_ms=latency.get(50, math.nan),  # wrk has none if nothing was answered
        p99_ms=latency.get(99, math.nan),
        failed=sum(failed),
    )


class _Asker(asyncio.Protocol):
    """One connection of our own generator."""

    def __init__(self, requests: Iterator[bytes], took_s: list[float], until_s: float) -> None:
        self._requests, self._took_s, self._until_s = requests, took_s, until_s
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._asked_s = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        now_s = time.perf_counter()
        if self._received.startswith(b"HTTP/1.1 2"):
            self._took_s.append(now_s - self._asked_s)
        self._received = b""
        if now_s < self._until_s:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(exc is None)


def _requests(host: str, seed: int) -> Iterator[bytes]:
    quality = '{"media.qoe.bitrate":3200,"media.qoe.droppedFrames":0,"media.qoe.framesPerSecond":25,"media.qoe.timeToStart":1000}'
    for number in range(SESSIONS, 2**62):
        at = number // SESSIONS * 10
        body = f'{{"playerTime":{{"playhead":{at},"ts":{1700000000000 + at * 1000}}},"eventType":"ping","qoeData":{quality}}}'
        sid = f"{seed:08x}{number % SESSIONS:056x}"
        yield (_HEAD.format(sid=sid, host=host, length=len(body)) + body).encode()


async def _generate(url: str, connections: int, seconds: float, seed: int) -> Load:
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    assert parts.scheme == "http", "our own generator speaks no TLS: install wrk"
    assert host is not None
    assert port is not None
    took_s: list[float] = []
    began_s = time.perf_counter()
    requests = _requests(parts.netloc, seed)
    loop = asyncio.get_running_loop()
    askers = [
        (await loop.create_connection(lambda: _Asker(requests, took_s, began_s + seconds), host, port))[1]
        for _ in range(connections)
    ]
    ended_well = await asyncio.gather(*(each.over for each in askers))
    quantiles = statistics.quantiles(took_s, n=100)
    return Load(
        requests=len(took_s),
        seconds=time.perf_counter() - began_s,
        p50_ms=quantiles[49] * 1e3,
        p99_ms=quantiles[98] * 1e3,
        failed=ended_well.count(False),
    )


if __name__ == "__main__":
    made = asyncio.run(_generate(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
    print(json.dumps({name: getattr(made, name) for name in Load.__dataclass_fields__}))
