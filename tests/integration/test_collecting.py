"""A collector in this process: what it received, waiting, ordering faults, and that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from proxy_addon.collector.server import Address, serving
from proxy_addon.core.exchange import Request, Response
from proxy_addon.testing.collecting import NothingCame, RunningCollector
from proxy_addon.testing.threads import in_thread
from tests.builders import body, event_dict

START = body(event_dict("sessionStart"))


def ask(host: str, path: str, sent: bytes, method: str = "POST") -> tuple[int, str | None, bytes]:
    """Send one request on a connection of its own; return status, ``Location`` and body."""
    with closing(http.client.HTTPConnection(host, timeout=15)) as connection:
        connection.request(method, path, sent)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location"), answer.read()


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
        assert collector.wait_for("ping").status == 204
        later.join()

    assert str(none.value) == "no ping within 0.01 s; received: sessionStart"


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


def test_another_handler_can_be_served():
    async def echo(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response(status=200, headers=(("X-Path", request.path),), body=request.body[::-1])

    with in_thread(lambda: serving(echo, Address(port=0)), "echo") as url:
        assert ask(url.rpartition("/")[2], "/x?y", b"abc", "PUT")[::2] == (200, b"cba")
