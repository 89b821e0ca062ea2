"""The pages of ``record --metrics``, over loopback."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy_addon.errors import SettingsError
from proxy_addon.recording.meters import BOUNDS_S, Meter, Standing, merged
from proxy_addon.recording.metrics import Look, Metrics
from tests import builders, processes
from tests.processes import Server

ALL_WELL = Standing(
    workers=2, seen=12, journaled=11, filed=8, refused=1, dropped=1, findings={"error": 3}, exchanges=2, bytes=4096,
    oldest_s=1.5,
)  # fmt: skip


async def asked(address: tuple[str, int], request: bytes) -> tuple[int, dict[str, str], str]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        head, _, body = (await asyncio.wait_for(reader.read(), 10)).decode().partition("\r\n\r\n")
    finally:
        writer.close()
    first, *lines = head.split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def looking(meter: Meter, now: Callable[[], Standing]) -> Look:
    async def look() -> tuple[Meter, Standing]:
        return meter, now()

    return look


def two_processes() -> Meter:
    one, other = Meter(), Meter()
    for _ in range(3):
        one.count("events", "answered")
        one.hold(0.0002)
    other.count("events", "answered")
    other.count("sessions", "client-gone")
    other.hold(0.001)
    other.hold(20)
    return merged(json.loads(json.dumps([one.document(), other.document()])))


async def test_prometheus_reads_what_all_processes_counted():
    server = Metrics("127.0.0.1", 0, looking(two_processes(), lambda: ALL_WELL))
    address = await server.start()
    try:
        status, headers, text = await asked(address, get("/metrics?x=1"))
        assert (status, headers["content-type"].partition(";")[0]) == (200, "text/plain")
        assert int(headers["content-length"]) == len(text)
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert found["sessiontape_exchanges_total", "events", "answered"] == 4
        assert found["sessiontape_exchanges_total", "sessions", "client-gone"] == 1
        buckets = [found["sessiontape_added_latency_seconds_bucket", str(bound)] for bound in BOUNDS_S]
        assert buckets == [0, 3, 3, *[4] * 9], "each bucket has all that took no longer"
        assert found["sessiontape_added_latency_seconds_bucket", "+Inf"] == 5
        assert found["sessiontape_added_latency_seconds_count",] == 5
        assert found["sessiontape_added_latency_seconds_sum",] == pytest.approx(20.0016)
        for name, value in {
            "seen_total": 12, "journaled_total": 11, "filed_total": 8, "refused_total": 1, "dropped_total": 1,
            "journal_exchanges": 2, "journal_bytes": 4096, "journal_oldest_seconds": 1.5, "store_up": 1, "ingest_up": 1,
            "workers": 2,
        }.items():  # fmt: skip
            assert found[f"sessiontape_{name}",] == value, name
        assert found["sessiontape_findings_total", "error"] == 3
        assert found["sessiontape_findings_total", "info"] == 0
    finally:
        await server.close()


async def test_health_says_what_is_wrong():
    now = ALL_WELL
    server = Metrics("127.0.0.1", 0, looking(Meter(), lambda: now))
    address = await server.start()
    try:
        assert await answer(address, "/healthz") == (200, {"ok": True, "troubles": []})
        now = replace(now, troubles=("the store is away",))
        assert await answer(address, "/healthz") == (503, {"ok": False, "troubles": ["the store is away"]})
        status, _, body = await asked(address, get("/healthz", "HEAD"))
        assert (status, body) == (503, "")
    finally:
        await server.close()


async def answer(address: tuple[str, int], path: str) -> tuple[int, object]:
    status, _, text = await asked(address, get(path))
    assert text.endswith("}\n")
    return status, json.loads(text)


async def test_strangers_get_short_answers_and_hold_nothing_up(monkeypatch):
    monkeypatch.setattr("proxy_addon.recording.metrics._PATIENCE_S", 0.2)
    server = Metrics("127.0.0.1", 0, looking(Meter(), lambda: ALL_WELL))
    address = await server.start()
    try:
        assert (await asked(address, get("/")))[0] == 404
        assert (await asked(address, get("/metrics", "POST")))[:2][0] == 405
        silent = [await asyncio.open_connection(*address) for _ in range(40)]
        for _, writer in silent:
            writer.write(b"GET /metrics HTTP/1.1\r\n")
        for reader, writer in silent:
            with suppress(ConnectionResetError):  # of what had no room
                assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /" + b"x" * 100_000)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError, BrokenPipeError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        writer.close()
        assert (await asked(address, get("/healthz")))[0] == 200
    finally:
        await server.close()


async def test_an_address_that_is_taken_is_named_with_its_option():
    server = Metrics("127.0.0.1", 0, looking(Meter(), lambda: ALL_WELL))
    host, port = await server.start()
    try:
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            await Metrics(host, port, looking(Meter(), lambda: ALL_WELL)).start()
        assert "--metrics" in (caught.value.hint or "")
    finally:
        await server.close()


def test_counting_costs_the_traffic_next_to_nothing():
    meter = Meter()
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(20_000):
            meter.count("events", "answered")
            meter.hold(0.0003)
        times.append((time.perf_counter() - begin) / 20_000)
    assert min(times) < 5e-6, "about half a microsecond; ten times that is a mistake"


def test_a_recorder_serves_what_it_did_and_what_is_wrong(tmp_path, sqlite_url):
    options = ("--metrics", "127.0.0.1:0", "--keep-days", "3")
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, sqlite_url, *options, ends_with=2) as recorder,
    ):
        (line,) = (line for line in recorder.process.lines if "metrics are on" in line)
        pages = Server(recorder.process, int(re.findall(r":(\d+)/metrics", line)[0]), line)
        started = recorder.ask("POST", "/api/v1/sessions", builders.start().request.body)
        assert started.status == 201
        assert recorder.ask("OPTIONS", "/api/v1/sessions").status == 204
        assert len(processes.printed("sessions", "--store", sqlite_url)) == 1, "so it is filed"
        found = pages.ask("GET", "/metrics").body.decode()
        for sample in (
            'sessiontape_exchanges_total{operation="sessions",outcome="answered"} 1.0',
            'sessiontape_exchanges_total{operation="preflight",outcome="answered"} 1.0',
            "sessiontape_added_latency_seconds_count 2.0",
            "sessiontape_seen_total 2.0",
            "sessiontape_journaled_total 2.0",
            (
                "# HELP sessiontape_filed_total Exchanges that were stored, of all recorders that share the journal, since ingest "
                "began."
            ),
            "sessiontape_filed_total 2.0",
            "sessiontape_store_up 1.0",
        ):
            assert sample in found.splitlines()
        assert pages.ask("GET", "/healthz").status == 200
        for path in tmp_path.glob("tape.db*"):
            if path.is_file():
                path.unlink()
        assert recorder.ask("POST", "/api/v1/sessions", builders.start().request.body).status == 201
        until_s = time.monotonic() + 30
        while (health := pages.ask("GET", "/healthz")).status == 200:
            assert time.monotonic() < until_s
            time.sleep(0.05)
        (trouble,) = json.loads(health.body)["troubles"]
        assert trouble.startswith("the store is away: ")
        assert "was removed" in trouble
