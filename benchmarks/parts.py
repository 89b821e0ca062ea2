"""Parts of the benchmarks: a cheap upstream, players, and the CPU time of a process."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import aiohttp

BIN = Path(sys.executable).parent
EVENTS = 50
PLAYERS = 16
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Upstream(asyncio.Protocol):
    """Answers starts with 201 and everything else with 204, and looks at nothing."""

    numbers = itertools.count(1)
    times_s: ClassVar[list[float]] = []
    """When each request had come in whole."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            lower = head.lower()
            at = lower.find(b"content-length:")
            length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(rest) < length:
                return
            self._received = rest[length:]
            self.times_s.append(time.monotonic())
            if b"/events " in head:
                self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                where = b"/api/v1/sessions/%064x" % next(self.numbers)
                self._transport.write(b"HTTP/1.1 201 Created\r\nLocation: " + where + b"\r\nContent-Length: 0\r\n\r\n")


@contextmanager
def upstream() -> Iterator[str]:
    """Run an upstream in a separate thread; yield its URL."""
    loop = asyncio.new_event_loop()
    ready: list[str] = []
    started = threading.Event()

    async def serve() -> None:
        server = await loop.create_server(Upstream, "127.0.0.1", 0)
        ready.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        started.set()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.run_forever()), daemon=True)
    thread.start()
    started.wait()
    yield ready[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@contextmanager
def proxy(*command: str, ready: str = "listening on ") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a proxy in a folder of its own; yield the process and the URL that it listens on."""
    with tempfile.TemporaryDirectory(prefix="sessiontape-bench-") as folder:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if ready in line)
            port = line.partition(ready)[2].split()[0].rstrip("./").rpartition(":")[2]
            drain = threading.Thread(target=process.stdout.read, daemon=True)
            drain.start()
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def cpu_s(process: subprocess.Popen[str]) -> float:
    """Return the CPU time that a process and its threads have used, in seconds."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def bodies(ts_ms: int, player: int = 0) -> list[bytes]:
    """Return the bodies of one playback of a player: a start as the JavaScript SDK sends it, then pings, as fast as they are sent."""
    params = {
        "media.id": f"video-{player}", "media.name": "A film", "media.length": 3600, "media.contentType": "vod",
        "media.streamType": "video", "media.playerName": "HTML5 Player", "media.channel": "Sports",
        "media.libraryVersion": "js-3.1.0", "media.resume": False, "media.show": "A show", "media.genre": "drama",
        "analytics.trackingServer": "example.data.adobedc.net", "analytics.reportSuite": "example-rsid",
        "analytics.enableSSL": True, "visitor.marketingCloudOrgId": "0123456789ABCDEF01234567@AdobeOrg",
        "visitor.marketingCloudUserId": "12345678901234567890123456789012345678", "visitor.aamLocationHint": 6,
    }  # fmt: skip

    def event(event_type: str, second: float, **members: object) -> bytes:
        time = {"playhead": second / 1000, "ts": ts_ms + round(second)}
        return json.dumps({"eventType": event_type, "playerTime": time, **members}).encode()

    quality = {"media.qoe.bitrate": 3200, "media.qoe.droppedFrames": 0, "media.qoe.framesPerSecond": 25}
    events = [event("sessionStart", 0, params=params, customMetadata={"page": "home"}), event("play", 1)]
    events += [event("ping", n * 10, qoeData=quality) for n in range(1, EVENTS - 1)]
    return [*events, event("sessionEnd", EVENTS * 10)]


async def _play(client: aiohttp.ClientSession, url: str, sent: Sequence[bytes]) -> None:
    headers = {"Content-Type": "application/json"}
    async with client.post(f"{url}/api/v1/sessions", data=sent[0], headers=headers) as answer:
        path = f"{url}{answer.headers['Location']}/events"
    for body in sent[1:]:
        async with client.post(path, data=body, headers=headers) as answer:
            assert answer.status == 204


async def _play_all(url: str, ts_ms: int) -> int:
    sent = [bodies(ts_ms, player) for player in range(PLAYERS)]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client, asyncio.TaskGroup() as players:
        for each in sent:
            players.create_task(_play(client, url, each))
    return sum(len(each) for each in sent)


def play(url: str, ts_ms: int) -> int:
    """Let players report one playback each at the same time; return the number of requests."""
    return asyncio.run(_play_all(url, ts_ms))


def ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """Return the median ratio of two series that were measured in turn."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))
