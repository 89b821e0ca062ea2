"""A collector in this process: what it received, waiting, ordering faults, and that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from proxy_addon.collector.server import Address, serving
from proxy_addon.core.exchange import Request, Response
from proxy_addon.core.fixtures.held import fold
from proxy_addon.testing import collecting
from proxy_addon.testing.collecting import NothingCame, RunningCollector, TooMuchCame
from proxy_addon.testing.threads import in_thread
from tests.builders import SESSION_ID, body, event, event_dict, response, start

START = body(event_dict("sessionStart"))


def ask(
    host: str, path: str, sent: bytes, method: str = "POST", timeout_s: float = 15
) -> tuple[int, str | None, bytes]:
    """Send one request on a connection of its own; return status, ``Location`` and body."""
    with closing(http.client.HTTPConnection(host, timeout=timeout_s)) as connection:
        connection.request(method, path, sent)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location"), answer.read()


@contextmanager
def asked(host: str, path: str, sent: bytes) -> Iterator[socket.socket]:
    """Send a request, and leave at the end, whether there is an answer or not."""
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=15) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(sent)}\r\n\r\n"
        connection.sendall(head.encode() + sent)
        yield connection


def opened(host: str) -> str:
    """Open a session and return the path of its events."""
    status, location, _ = ask(host, "/api/v1/sessions", START)
    assert status == 201
    return f"{location}/events"


def test_a_test_sees_what_a_player_sent_and_was_answered():
    with RunningCollector() as collector:
        path = opened(collector.host)
        ask(collector.host, path, body(event_dict("ping", playhead=7)))
        ask(collector.host, path, body(event_dict("sessionEnd")))

        assert [event.type for event in collector.events()] == ["sessionStart", "ping", "sessionEnd"]
        (ping,) = collector.events("ping")
        ping.params.clear()  # type: ignore[attr-defined]  # a test may, and what the next one gets is as it was sent
        ping.body["playerTime"].clear()
        assert collector.events("ping")[0].body["playerTime"] != {}
        assert (ping.playhead_s, ping.status) == (7, 204)
        (held,) = collector.sessions
        assert held.session.session_id == path.split("/")[-2]
        assert held.session.ended
        assert [each.response.status for each in held.exchanges if each.response] == [201, 204, 204]


def test_a_test_waits_for_an_event_and_is_told_what_came_instead():
    with RunningCollector() as collector:
        path = opened(collector.host)
        with pytest.raises(NothingCame) as none:
            collector.wait_for("ping", timeout=0.01)
        later = threading.Thread(target=lambda: ask(collector.host, path, body(event_dict("ping"))))
        later.start()
        began_s = time.monotonic()
        assert collector.wait_for("ping", timeout=600).status == 204
        assert time.monotonic() - began_s < 60
        later.join()
        with pytest.raises(NothingCame, match=r"^only 1 of 2 ping within 0 s; received: sessionStart, ping$"):
            collector.wait_for("ping", count=2, timeout=0)
        with ThreadPoolExecutor() as waiting:
            for_ever = waiting.submit(collector.wait_for, "sessionEnd", timeout=600)
            collector.__exit__(None, None, None)
            assert str(for_ever.exception()).startswith("no sessionEnd before the collector was stopped; ")

    assert str(none.value) == "no ping within 0.01 s; received: sessionStart"
    assert len(collector.events()) == 2


def test_the_events_of_a_batch_are_events():
    sent = [event_dict("sessionStart"), event_dict("ping", customMetadata={"page": "home"}), event_dict("ping"), 7]
    with RunningCollector() as collector:
        ask(collector.host, "/api/v1/downloaded", body(sent))
        assert [event.type for event in collector.events()] == ["sessionStart", "ping", "ping", None]
        first, second = (collector.wait_for("ping", count=count) for count in (1, 2))
    assert (first.metadata, second.metadata) == ({"page": "home"}, {})


def test_how_a_request_ended_is_kept():
    with RunningCollector(faults=["play:hang", "pauseStart:drop", "bufferStart:cut"]) as collector:
        collector.order("ping:delay=60:nth=2")
        collector.order("ping:delay=0.2:nth=1")
        path = opened(collector.host)
        ask(collector.host, path, body(event_dict("ping")))
        for type in ("pauseStart", "bufferStart"):
            with pytest.raises((http.client.RemoteDisconnected, http.client.IncompleteRead)):
                ask(collector.host, path, body(event_dict(type)))
        for type, count in (("ping", 2), ("play", 1)):
            with asked(collector.host, path, body(event_dict(type))):
                collector.wait_for(type, count=count)
        # The collector sees that the players left; a new request shows it no later.
        while len(gone := [each for each in collector.sessions[0].exchanges if each.outcome == "client-gone"]) < 2:
            ask(collector.host, path, body(event_dict("adStart")))
        outcomes = [each.outcome for each in collector.sessions[0].exchanges]
        slow = collector.events("ping")[0].exchange

    assert [each.response for each in gone] == [None, None]
    assert outcomes[:4] == ["answered", "answered", "upstream-closed", "upstream-closed"]
    assert slow.duration_us is not None
    assert slow.duration_us > 200_000


def test_many_players_and_threads_at_once():
    def play(_: int) -> list[int]:
        path = opened(collector.host)
        types = ["play", *["ping"] * 20, "sessionEnd"]
        return [ask(collector.host, path, body(event_dict(type)))[0] for type in types]

    with RunningCollector() as collector, ThreadPoolExecutor(8) as players:
        running = players.map(play, range(8))
        for count in range(1, 161):
            assert collector.wait_for("ping", count=count).type == "ping"
            collector.order(f"ping:status=500:after={10**6}")
            assert collector.sessions
        assert [set(statuses) for statuses in running] == [{204}] * 8
        assert [held.session.events for held in collector.sessions] == [23] * 8
        assert len({held.session.session_id for held in collector.sessions}) == 8


def test_a_collector_answers_from_a_recorded_session():
    recorded = fold([start(), event("ping", response=response(500), duration_us=60_000_000)])
    with RunningCollector(recorded, speed="max") as collector:
        for _ in range(2):
            path = opened(collector.host)
            assert SESSION_ID not in path
            assert [ask(collector.host, path, body(event_dict("ping")))[0] for _ in range(2)] == [500, 204]
            assert collector.remarks == ["ping 2 is not in the recording, which has 1: answered by the protocol"]
            collector.clear()


def test_a_collector_that_received_too_much_tells_no_part_of_it(monkeypatch):
    monkeypatch.setattr(collecting, "MOST_BYTES", 5000)
    with RunningCollector() as collector:
        opened(collector.host)
        assert len(collector.events()) == 1
        for _ in range(2):
            opened(collector.host)
        for look in (collector.events, lambda: collector.sessions, lambda: collector.wait_for("sessionStart")):
            with pytest.raises(TooMuchCame, match="keeps 0 MiB of requests, and received more"):
                look()
        collector.clear()
        assert collector.sessions == []


def test_a_fault_counts_from_when_it_is_ordered_and_is_forgotten_with_all_else():
    with RunningCollector() as collector:
        path = opened(collector.host)
        collector.order("events:status=500:nth=2")
        ping = body(event_dict("ping"))
        assert [ask(collector.host, path, ping)[0] for _ in range(3)] == [204, 500, 204]
        collector.order("any:status=503")
        collector.clear()
        assert (collector.events(), collector.sessions) == ([], [])
        assert ask(collector.host, path, ping)[0] == 404
        opened(collector.host)


def test_nothing_stays_behind():
    before, files = threading.enumerate(), set(Path("/dev/fd").iterdir())
    with RunningCollector(faults=["ping:hang"]) as collector, RunningCollector() as other:
        path = opened(collector.host)
        ping = body(event_dict("ping"))
        address = ("127.0.0.1", int(collector.host.rpartition(":")[2]))
        waiting = socket.create_connection(address, timeout=15)
        waiting.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(ping)}\r\n\r\n".encode() + ping)
        collector.wait_for("ping")
        idle = [socket.create_connection(address, timeout=15) for _ in range(20)]
        assert collector.host != other.host
    for connection in (waiting, *idle):
        with closing(connection), suppress(ConnectionResetError):  # as the kernel does to those not accepted yet
            assert connection.recv(1) == b""
    assert threading.enumerate() == before
    assert set(Path("/dev/fd").iterdir()) == files
    with pytest.raises(ConnectionRefusedError):
        ask(collector.host, path, b"")


def test_a_connection_that_is_just_being_accepted_is_closed_like_the_others():
    for _ in range(20):
        with RunningCollector() as collector:
            address = ("127.0.0.1", int(collector.host.rpartition(":")[2]))
            begun = [socket.create_connection(address, timeout=5) for _ in range(3)]
        for connection in begun:
            with closing(connection), suppress(ConnectionResetError):
                assert connection.recv(1) == b""


def test_another_handler_can_be_served():
    async def echo(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response(status=200, headers=(("X-Path", request.path),), body=request.body[::-1])

    with in_thread(lambda: serving(echo, Address(port=0)), "echo") as url:
        assert ask(url.rpartition("/")[2], "/x?y", b"abc", "PUT")[::2] == (200, b"cba")
