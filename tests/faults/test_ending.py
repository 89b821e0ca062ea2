"""The end of a recorder: soon, whatever it is doing, and without a loss."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy_addon.process.signals import SAME_S
from proxy_addon.recording.workers import COUNTED_S
from tests import processes
from tests.builders import body, event_dict
from tests.faults import books, raw
from tests.faults.servers import Cluster, Recorder
from tests.faults.stage import Stage
from tests.integration.test_outcomes import wait_until_refused

MIB = 1 << 20


@pytest.fixture
def silent() -> Iterator[raw.Upstream]:
    """An upstream that takes requests and never answers."""
    with raw.upstream(lambda peer, _: peer.rest()) as found:
        yield found


def in_flight(proxy: Recorder, upstream: raw.Upstream) -> None:
    deadline = time.monotonic() + raw.WITHIN_S
    while not upstream.received:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_device_that_waits_when_the_recorder_stops_is_told(
    silent: raw.Upstream, sqlite_url: str, tmp_path: Path
) -> None:
    proxy = Recorder(tmp_path, silent.url, sqlite_url)
    try:
        proxy.start()
        with raw.device(proxy.port) as device:
            device.send(raw.post())
            in_flight(proxy, silent)
            assert proxy.stop() < 10
            answer = device.rest()
    finally:
        proxy.end()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Access-Control-Allow-Origin: *\r\n" in answer
    assert "sessiontape" in json.loads(answer.partition(b"\r\n\r\n")[2])["message"]
    (session,) = processes.printed("sessions", "--store", sqlite_url)
    (only,) = processes.printed("show", session["id"], "--store", sqlite_url)["exchanges"]
    assert (only["outcome"], only["response"]) == ("interrupted", None)
    books.assert_balanced(sqlite_url)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_a_recorder_at_once(
    silent: raw.Upstream, sqlite_url: str, tmp_path: Path, workers: str
) -> None:
    proxy = Recorder(tmp_path, silent.url, sqlite_url, "--workers", workers)
    try:
        proxy.start()
        with raw.device(proxy.port) as device:
            device.send(raw.post())
            in_flight(proxy, silent)
            time.sleep(3 * COUNTED_S)
            proxy.process.popen.send_signal(signal.SIGTERM)
            wait_until_refused(proxy.port)
            time.sleep(SAME_S)  # one that follows sooner counts as the same
            proxy.process.popen.send_signal(signal.SIGTERM)
            proxy.process.wait()
        assert "a second signal ends the recorder at once: exchanges seen: 1, in the journal: 0; " in proxy.output
        assert "'sessiontape db drain'" in proxy.output
    finally:
        proxy.end()


@pytest.mark.all_rounds
def test_a_recorder_stops_in_ten_seconds_also_after_a_batch_of_49_mib(
    stage: Stage, sqlite_url: str, tmp_path: Path
) -> None:
    events = [event_dict("sessionStart"), event_dict("play", customMetadata={"id": "big"})]
    some = body(event_dict("ping", customMetadata={"x": "y" * 400}))
    content = body(events)[:-1] + b"," + b",".join([some] * (49 * MIB // (len(some) + 1))) + b"]"
    with stage.recorder(sqlite_url, "--max-body", str(64 * MIB)) as proxy:
        with raw.device(proxy.port) as device:
            device.send(raw.post("/api/v1/downloaded", content))
            assert device.message().startswith(b"HTTP/1.1 204")
        proxy.process.popen.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        code = proxy.process.wait()
        assert time.monotonic() - began_s < 10
        assert code in {0, 2}
    books.drain(sqlite_url)
    assert [row.id for row in books.rows(sqlite_url)] == ["big"]


def test_a_recorder_stops_in_ten_seconds_also_when_the_store_hangs(
    stage: Stage, own_postgres: Cluster, own_postgres_url: str
) -> None:
    with stage.recorder(own_postgres_url) as proxy, stage.playing(proxy) as notes:
        time.sleep(0.3)
        own_postgres.pause()
        try:
            time.sleep(0.3)
            took_s = proxy.stop(2)
        finally:
            own_postgres.resume()
    assert took_s < 10
    books.drain(own_postgres_url)
    stage.assert_kept(notes, own_postgres_url)


def test_what_a_stopped_recorder_has_left_is_filed_by_the_next_one(stage: Stage, sqlite_url: str) -> None:
    from tests.faults.test_outages import locked

    with stage.recorder(sqlite_url) as proxy:
        with stage.playing(proxy) as notes, locked(Path(sqlite_url.removeprefix("sqlite:///"))):
            time.sleep(0.5)
            assert proxy.stop(2) < 10
        assert len(books.rows(sqlite_url)) < len(notes.answered)
        proxy.start()
        proxy.stop()
    stage.assert_kept(notes, sqlite_url)
