"""``record --metrics``: a page for Prometheus, and one that says whether all is well.

``/metrics`` has the counts of `proxy_addon.recording.meters` in the text format of Prometheus. ``/healthz`` is answered with
200 if all is well and with 503 if not, with one line of JSON that says what is wrong.

The server understands just enough HTTP for those who read such pages. It shares the event loop with the traffic, so it
answers a connection once, and soon, or not at all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy_addon import __version__
from proxy_addon.process.sockets import cannot_listen
from proxy_addon.recording.meters import BOUNDS_S, Meter, Standing

Look = Callable[[], Awaitable[tuple[Meter, Standing]]]
"""Returns how the recorder stands now."""

_BY_INGEST = ", of all recorders that share the journal, since ingest began"
"""Of what counts ingest knows; it also files what earlier recorders have left."""
_HEAD_BYTES, _PATIENCE_S, _AT_ONCE = 8192, 5.0, 32
"""How long a request may be, how long it may take, and how many are answered at once."""


class _Page(Collector):
    """The numbers as Prometheus knows them."""

    def __init__(self, meter: Meter, now: Standing) -> None:
        self._meter = meter
        self._now = now

    def collect(self) -> Iterator[Metric]:
        meter, now = self._meter, self._now
        yield InfoMetricFamily("sessiontape_recorder", "The recorder.", value={"version": __version__})
        ended = CounterMetricFamily(
            "sessiontape_exchanges", "Exchanges that ended, by operation and outcome.", labels=("operation", "outcome")
        )
        for labels, number in sorted(meter.ended.items()):
            ended.add_metric(labels, number)
        yield ended
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        yield HistogramMetricFamily(
            "sessiontape_added_latency_seconds",
            "How long answers that were complete were held back until their exchange was journaled.",
            buckets=list(zip(bounds, accumulate(meter.held), strict=True)),
            sum_value=meter.held_s,
        )
        for name, text, number in (
            ("seen", "Exchanges that came in, those in flight included.", now.seen),
            ("journaled", "Exchanges that were written to the journal.", now.journaled),
            ("filed", f"Exchanges that were stored{_BY_INGEST}.", now.filed),
            ("refused", f"Exchanges that the store would not take, and that were set aside{_BY_INGEST}.", now.refused),
            ("dropped", "Exchanges that could not be journaled.", now.dropped),
        ):
            yield CounterMetricFamily(f"sessiontape_{name}", text, value=number)
        found = CounterMetricFamily("sessiontape_findings", f"Findings{_BY_INGEST}, by severity.", labels=("severity",))
        for severity in ("error", "warning", "info"):
            found.add_metric((severity,), now.findings.get(severity, 0))
        yield found
        for name, text, value in (
            ("journal_exchanges", "Exchanges in the journal that are not stored.", now.exchanges),
            ("journal_bytes", "Size of the journal on disk.", now.bytes),
            ("journal_oldest_seconds", "How long the oldest exchange in the journal waits.", now.oldest_s),
            ("journal_free_bytes", "Room on the disk of the journal.", now.free),
            ("store_up", "1 if the store took what it was given last, else 0.", now.is_store_up),
            ("ingest_up", "1 if a process files what is in the journal, else 0.", now.is_ingest_up),
            ("workers", "Processes that record.", now.workers),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"sessiontape_{name}", text, value=float(value))


@dataclass(frozen=True, slots=True)
class _Answer:
    status: str
    body: bytes
    type: str = "text/plain; charset=utf-8"


class Metrics:
    """Serves the two pages."""

    def __init__(self, host: str, port: int, look: Look) -> None:
        """Make the server; `start` starts it."""
        self._host = host
        self._port = port
        self._look = look
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self) -> tuple[str, int]:
        """Listen, and return the address.

        Raises:
            SettingsError: The address cannot be listened on.
        """
        try:
            self._server = await asyncio.start_server(
                self._connected, self._host, self._port, limit=_HEAD_BYTES, backlog=_AT_ONCE
            )
        except OSError as e:
            raise cannot_listen(self._host, self._port, e, "--metrics") from e
        host, port, *_ = self._server.sockets[0].getsockname()
        return str(host), int(port)

    async def close(self) -> None:
        """Stop listening, and leave nobody waiting."""
        if self._server is not None:
            self._server.close()
        for task in list(self._answering):
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._answering) >= _AT_ONCE:
            writer.transport.abort()
            return
        self._answering.add(task)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                method, _, rest = head.decode("latin-1").partition(" ")
                answer = await self._answer(method, rest.partition(" ")[0].partition("?")[0])
                writer.write(
                    f"HTTP/1.1 {answer.status}\r\nContent-Type: {answer.type}\r\nContent-Length: {len(answer.body)}\r\n"
                    "Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
                )
                if method != "HEAD":
                    writer.write(answer.body)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._answering.discard(task)
            with suppress(OSError):
                writer.close()

    async def _answer(self, method: str, path: str) -> _Answer:
        if method not in ("GET", "HEAD"):
            return _Answer("405 Method Not Allowed\r\nAllow: GET, HEAD", b"only GET is answered here\n")
        if path == "/metrics":
            return _Answer("200 OK", generate_latest(_Page(*await self._look())), CONTENT_TYPE_LATEST)
        if path == "/healthz":
            _, now = await self._look()
            return _health(now.troubles)
        return _Answer("404 Not Found", b"/metrics and /healthz are here\n")


def _health(troubles: Iterable[str]) -> _Answer:
    found = list(troubles)
    line = json.dumps({"ok": not found, "troubles": found}) + "\n"
    return _Answer("503 Service Unavailable" if found else "200 OK", line.encode(), "application/json")
