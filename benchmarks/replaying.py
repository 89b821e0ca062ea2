"""The speed of a replay at full speed: ours with everything on, a bare aiohttp loop, and ``mitmdump -C``.

All send the same requests to the same server, in turn. Ours compares each answer, shifts each time and stores each
step; the others do none of this. The server measures the time from the first to the last request.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from mitmproxy import connection, http, io

from benchmarks.parts import BIN, Upstream, bodies, ratio, upstream
from proxy_addon.core.exchange import Exchange, Headers, Request, Response
from storage import migrate, saving
from storage.engine import Store

SESSIONS = 300
SIDE_BY_SIDE = 64
ROUNDS = 7
PEER_ROUNDS = 3
"""For mitmdump, which is so much slower that more rounds would not tell more."""
MANY = 10_000
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEADERS: Headers = (
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
    ("Content-Type", "application/json"),
    ("Accept", "*/*"),
    ("Origin", "https://tv.example"),
    ("Accept-Language", "en-US,en;q=0.9"),
)


def run() -> list[str]:
    """Measure, and return lines to print."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="sessiontape-bench-") as folder, ExitStack() as running:
        url = running.enter_context(upstream())
        store = f"sqlite:///{folder}/t.db"
        fill(store, SESSIONS)
        recorded = Path(folder) / "requests.json"
        recorded.write_text(json.dumps([[body.decode() for body in sent(n)] for n in range(SESSIONS)]))
        flows = Path(folder) / "t.flow"
        script = [sys.executable, "-m", "benchmarks.replaying"]
        subprocess.run([*script, "flows", str(recorded), str(flows), url], check=True)
        ways = {
            "sessiontape replay": _replay(store, url),
            "bare aiohttp loop": [*script, "aiohttp", str(recorded), url],
            "mitmdump -C": [
                str(BIN / "mitmdump"), "-n", "-q", "-C", str(flows), "--set", f"confdir={folder}",
            ],
            "mitmdump -C, at once": [
                str(BIN / "mitmdump"), "-n", "-q", "-C", str(flows), "--set", f"confdir={folder}",
                "--set", "client_replay_concurrency=-1",
            ],
        }  # fmt: skip
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(ROUNDS):
            for name, command in ways.items():
                if number < PEER_ROUNDS or not name.startswith("mitmdump"):
                    rates[name].append(_rate(command))
        lines.append(
            f"{'':20}  requests/s   (medians of {ROUNDS} interleaved rounds, {PEER_ROUNDS} of mitmdump;"
            f" {SESSIONS} sessions of 51 requests)"
        )
        lines += [f"{name:20}  {statistics.median(each):10,.0f}" for name, each in rates.items()]
        ours = rates["sessiontape replay"]
        lines.append(f"replay / bare aiohttp loop: {ratio(ours, rates['bare aiohttp loop']):.2f}   (goal: at least 1)")
        lines.append(
            f"replay / mitmdump -C: {ratio(ours[:PEER_ROUNDS], rates['mitmdump -C']):.1f}   (goal: at least 5)"
        )
        many = f"sqlite:///{folder}/many.db"
        fill(many, MANY)
        lines += [f"{number} sessions: {_peak(many, url, number)}" for number in (1_000, MANY)]
    return lines


def sent(number: int) -> list[bytes]:
    """Return the bodies of a session."""
    return bodies(round(BEGIN.timestamp() * 1000), number)


def fill(url: str, sessions: int) -> None:
    """Make a store with recorded sessions."""
    store = Store(url, durable=False)
    migrate.upgrade(store)
    recording = saving.RecordingRun(id="bench", name="bench", started_at=BEGIN, version="0")
    for first in range(0, sessions, 100):
        with store.write() as db:
            recorded = [each for n in range(first, min(first + 100, sessions)) for each in _session(n)]
            saving.save(db, recording, [saving.Judged(each) for each in recorded])
    store.close()


def _session(number: int) -> Iterator[Exchange]:
    session_id = f"{number:064x}"
    for place, body in enumerate(sent(number)):
        path = f"/api/v1/sessions/{session_id}/events" if place else "/api/v1/sessions"
        location: Headers = () if place else (("Location", f"/api/v1/sessions/{session_id}"),)
        yield Exchange(
            id=f"{number:x}-{place:x}",
            upstream="https://recorded.example",
            received_at=BEGIN + timedelta(seconds=number, milliseconds=10 * place),
            request=Request(method="POST", path=path, headers=HEADERS, body=body),
            duration_us=2000,
            client_address=f"192.0.2.{number % 250}",
            response=Response(status=204 if place else 201, headers=location),
        )


def _replay(store: str, url: str) -> list[str]:
    command = [str(BIN / "sessiontape"), "replay", "--all", "--store", store, "--target", url, "--speed", "max"]
    return [*command, "--concurrency", str(SIDE_BY_SIDE)]


def _rate(command: list[str]) -> float:
    """Run a command that sends requests; return the requests per second that the server saw."""
    Upstream.times_s.clear()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    times_s = Upstream.times_s
    assert len(times_s) >= SESSIONS * 50, f"{command[0]} sent {len(times_s)} requests"
    return len(times_s) / (times_s[-1] - times_s[0])


def _peak(store: str, url: str, sessions: int) -> str:
    """Replay a number of sessions; return the rate and the peak memory."""
    until = (BEGIN + timedelta(seconds=sessions)).isoformat()
    Upstream.times_s.clear()
    command = [*_replay(store, url), "--until", until]
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], check=True, capture_output=True, text=True)
    times_s = Upstream.times_s
    took_s = times_s[-1] - times_s[0]
    return f"{len(times_s):,} requests in {took_s:.1f} s, {len(times_s) / took_s:,.0f}/s, peak memory {int(done.stdout) // 1024} MiB"


async def _aiohttp(recorded: list[list[str]], url: str) -> None:
    waiting = iter(recorded)
    headers = dict(HEADERS)

    async def one_after_the_other(client: aiohttp.ClientSession) -> None:
        for session in waiting:
            path = f"{url}/api/v1/sessions"
            for body in session:
                async with client.post(path, data=body.encode(), headers=headers) as answer:
                    await answer.read()
                    if answer.status == 201:
                        path = f"{url}{answer.headers['Location']}/events"

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(one_after_the_other(client) for _ in range(SIDE_BY_SIDE)))


def _flows(recorded: list[list[str]], file: Path, url: str) -> None:
    with file.open("wb") as stream:
        writer = io.FlowWriter(stream)
        for number, session in enumerate(recorded):
            for place, body in enumerate(session):
                path = f"/api/v1/sessions/{number:064x}/events" if place else "/api/v1/sessions"
                client = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))
                flow = http.HTTPFlow(client, connection.Server(address=None))
                flow.request = http.Request.make(
                    "POST", f"{url}{path}", body.encode(), http.Headers([(n.encode(), v.encode()) for n, v in HEADERS])
                )
                writer.add(flow)


if __name__ == "__main__":
    way, source, *rest = sys.argv[1:]
    requests: list[list[str]] = json.loads(Path(source).read_text())
    if way == "aiohttp":
        asyncio.run(_aiohttp(requests, rest[0]))
    else:
        _flows(requests, Path(rest[0]), rest[1])
