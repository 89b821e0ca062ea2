"""What the transport of a replay sends, and how it reads answers, under both event loops."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.core.exchange import Request, Response
from proxy_addon.core.urls import parse_server_url
from proxy_addon.replay import connecting, loops
from proxy_addon.replay.engine import Failure, TransportError
from proxy_addon.replay.resolving import CheckedTarget
from proxy_addon.replay.transport import HttpTransport, tls_context
from tests.integration.test_collector import self_signed

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
LIMIT_S = 20

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Talk = Callable[["Peer"], Awaitable[None]]


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine, within a time limit, under each loop in turn."""
    start = loops.run if request.param == "uvloop" else asyncio.run
    return lambda main: start(asyncio.wait_for(main, LIMIT_S))


class Peer:
    """One accepted connection, as the server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes | None:
        """The next request; None where the connection ends."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        return head + await self._reader.readexactly(length)

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def hang_up(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


class Site:
    """A server that talks as told; each connection is one call of ``talk``."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        peer = Peer(reader, writer)
        read = peer.request

        async def noted() -> bytes | None:
            found = await read()
            if found is not None:
                self.requests.append(found)
            return found

        peer.request = noted  # type: ignore[method-assign]
        with suppress(ConnectionError), closing(writer):  # the other side may have had enough
            await self._talk(peer)


@asynccontextmanager
async def site(talk: Talk, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    made = Site(talk)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


def transport(
    to: Site, *, scheme: str = "http", addresses: tuple[str, ...] = ("127.0.0.1",), **options: Any
) -> HttpTransport:
    return HttpTransport(CheckedTarget(parse_server_url(f"{scheme}://127.0.0.1:{to.port}/base"), addresses), **options)


def post(body: bytes = b"{}", **overrides: Any) -> Request:
    return Request(**{"method": "POST", "path": "/api/v1/sessions/a/events", "body": body, **overrides})


def answering(*answers: bytes) -> Talk:
    """Give one answer after the other, and repeat the last one."""

    async def talk(peer: Peer) -> None:
        number = 0
        while await peer.request() is not None:
            await peer.send(answers[min(number, len(answers) - 1)])
            number += 1

    return talk


async def told(to: HttpTransport, request: Request | None = None) -> tuple[Failure, str]:
    with pytest.raises(TransportError) as caught:
        await to.send(request or post())
    return caught.value.kind, str(caught.value)


def test_the_recorded_head_reaches_the_wire_byte_for_byte(run):
    headers = (("user-AGENT", "T\xe9l\xe9 1"), ("X-A", "1"), ("x-a", "2"), ("Accept-Encoding", "gzip"), ("X-Empty", ""))

    async def main() -> Site:
        async with site(answering(NO_CONTENT)) as server, transport(server) as client:
            await client.send(post(b'{"a": 1}', headers=headers, path="/api/v1/sessions?x=%C3%A9&y={\xe9}"))
            await client.send(Request(method="OPTIONS", path="/api/v1/sessions"))
        return server

    server = run(main())
    first, second = server.requests
    assert first == (
        "POST /base/api/v1/sessions?x=%C3%A9&y={\xe9} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{server.port}\r\n"
        "user-AGENT: T\xe9l\xe9 1\r\nX-A: 1\r\nx-a: 2\r\nAccept-Encoding: gzip\r\nX-Empty: \r\n"
        'Content-Length: 8\r\n\r\n{"a": 1}'
    ).encode("latin-1")
    assert second.endswith(f"Host: 127.0.0.1:{server.port}\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"headers": (("X", "a\r\nB: c"),)}, "the header 'X' has a line end"),
        ({"headers": (("X", "a\0"),)}, "the header 'X' has a line end or NUL"),
        ({"headers": (("a b", "c"),)}, "'a b' is not a header name"),
        ({"headers": (("", "c"),)}, "'' is not a header name"),
        ({"path": "/a b"}, "is not a path"),
        ({"path": "http://127.0.0.1/a"}, "is not a path"),
        ({"path": "/a\r\nX: y"}, "is not a path"),
        ({"method": "GE T"}, "is not a method"),
    ],
)
def test_a_request_that_would_be_invalid_http_is_not_sent(run, changes, says):
    async def main() -> tuple[tuple[Failure, str], int]:
        async with site(answering(NO_CONTENT)) as server, transport(server) as client:
            return await told(client, post(**changes)), server.connections

    (kind, message), connections = run(main())
    assert (kind, connections) == (Failure.INVALID, 0)
    assert says in message


def test_connections_are_used_again_and_never_by_two_at_once(run):
    async def main() -> tuple[int, int]:
        async with site(answering(NO_CONTENT)) as server, transport(server) as client:
            for _ in range(10):
                await client.send(post())
            alone = server.connections
            await asyncio.gather(*(client.send(post()) for _ in range(5)))
            await asyncio.gather(*(client.send(post()) for _ in range(5)))
            return alone, server.connections

    assert run(main()) == (1, 5)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=0\r\n\r\n",
        NO_CONTENT + NO_CONTENT,
    ],
)
def test_a_connection_that_cannot_be_used_again_is_not(run, answer):
    async def main() -> int:
        async with site(answering(answer)) as server, transport(server) as client:
            for _ in range(3):
                await client.send(post())
            return server.connections

    assert run(main()) == 3


def test_a_connection_that_was_closed_while_idle_is_replaced(run):
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(NO_CONTENT)
        await peer.hang_up()

    async def main() -> list[bytes]:
        async with site(once) as server, transport(server) as client:
            for number in range(5):
                await client.send(post(b"%d" % number))
            return server.requests

    assert [request[-1:] for request in run(main())] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_request_on_a_used_connection_that_got_no_answer_is_not_repeated(run):
    async def one_answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(NO_CONTENT)
        await peer.request()

    async def main() -> tuple[Failure, str, list[bytes]]:
        async with site(one_answer) as server, transport(server) as client:
            await client.send(post(b"1"))
            kind, message = await told(client, post(b"2"))
            return kind, message, server.requests

    kind, message, requests = run(main())
    assert (kind, message) == (Failure.CLOSED, "the connection was closed without an answer")
    assert [request[-1:] for request in requests] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nX: y\r\n\r\nHTTP/1.1 201 Made\r\nA: b\r\nContent-Length: 2\r\n\r\nok",
            Response(status=201, reason="Made", headers=(("A", "b"), ("Content-Length", "2")), body=b"ok"),
        ),
        (
            b"HTTP/1.1 200 OK\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
            Response(
                status=200,
                reason="OK",
                headers=(
                    ("X-B", "1"),
                    ("x-a", "2"),
                    ("X-B", "3"),
                    ("Content-Encoding", "gzip"),
                    ("Content-Length", "3"),
                ),
                body=b"\x1f\x8b\x08",
            ),
        ),
        (
            b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            Response(status=200, headers=(("Transfer-Encoding", "chunked"),), body=b"abcde"),
        ),
        (b"HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n", Response(status=304, reason="N", headers=(("Content-Length", "5"),))),
        (b"HTTP/1.1 302 F\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
         Response(status=302, reason="F", headers=(("Location", "http://192.0.2.1/"), ("Content-Length", "0")))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("split", [False, True])
def test_answers_are_read_as_they_are_however_they_come_in(run, answer, expected, split):
    async def talk(peer: Peer) -> None:
        while await peer.request() is not None:
            await peer.send(*([bytes([byte]) for byte in answer] if split else [answer]))

    async def main() -> tuple[list[Response], int]:
        async with site(talk) as server, transport(server) as client:
            return [await client.send(post()) for _ in range(2)], server.connections

    answers, connections = run(main())
    assert answers == [expected, expected]
    assert connections == 1


def test_an_answer_without_a_length_ends_with_its_connection(run):
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 500 No\r\nA: b\r\n\r\nsome", b" text")

    async def main() -> Response:
        async with site(talk) as server, transport(server) as client:
            return await client.send(post())

    assert run(main()) == Response(status=500, reason="No", headers=(("A", "b"),), body=b"some text")


def test_an_answer_to_head_has_no_body(run):
    async def main() -> list[int]:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"
        async with site(answering(head)) as server, transport(server) as client:
            return [(await client.send(Request(method="HEAD", path="/"))).status for _ in range(2)]

    assert run(main()) == [200, 200]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "the connection ended before the answer was complete"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", "the connection ended before the answer was complete"),
        (b"SSH-2.0-server\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "the answer is larger than 65536 bytes"),
    ],
)
def test_each_kind_of_incomplete_answer_has_its_own_message(run, answer, says):
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    async def main() -> tuple[Failure, str]:
        async with site(talk) as server, transport(server) as client:
            return await told(client)

    kind, message = run(main())
    assert kind is Failure.CLOSED
    assert says in message


def test_a_slow_answer_fails_and_its_connection_is_not_used_again(run):
    async def talk(peer: Peer) -> None:
        request = await peer.request()
        await peer.send(b"HTTP/1.1 2")
        if request is not None and request.endswith(b"slow"):
            await peer.request()  # for ever
        await peer.send(b"04 No Content\r\n\r\n")

    async def main() -> tuple[Failure, str, int, int]:
        async with site(talk) as server, transport(server, timeout_s=1) as client:
            kind, message = await told(client, post(b"slow"))
            return kind, message, (await client.send(post(b"fast"))).status, server.connections

    assert run(main()) == (Failure.TIMEOUT, "no complete answer within 1 s", 204, 2)


def test_each_request_on_a_connection_has_its_own_time(run):
    async def talk(peer: Peer) -> None:
        for _ in range(3):
            await peer.request()
            await asyncio.sleep(0.8)
            await peer.send(NO_CONTENT)
        await peer.request()
        await peer.request()  # for ever

    async def main() -> tuple[list[int], Failure, float, int]:
        loop = asyncio.get_running_loop()
        async with site(talk) as server, transport(server, timeout_s=2) as client:
            statuses = [(await client.send(post())).status for _ in range(3)]
            asked_s = loop.time()
            kind, _ = await told(client)
            return statuses, kind, loop.time() - asked_s, server.connections

    statuses, kind, waited_s, connections = run(main())
    assert (statuses, kind, connections) == ([204, 204, 204], Failure.TIMEOUT, 1)
    assert waited_s >= 1.999


def test_a_cancelled_request_takes_its_connection_with_it(run):
    asked = asyncio.Event()

    async def talk(peer: Peer) -> None:
        if (request := await peer.request()) is not None and request.endswith(b"first"):
            asked.set()
            await peer.request()
        await peer.send(NO_CONTENT)

    async def main() -> tuple[int, int]:
        async with site(talk) as server, transport(server) as client:
            sending = asyncio.create_task(client.send(post(b"first")))
            await asked.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            return (await client.send(post(b"second"))).status, server.connections

    assert run(main()) == (204, 2)


def test_the_next_address_is_tried_where_one_refuses(run):
    async def main() -> tuple[int, bool]:
        addresses = ("127.0.0.9", "127.0.0.1")
        async with site(answering(NO_CONTENT)) as server, transport(server, addresses=addresses) as client:
            return (await client.send(post())).status, client.has_connected

    assert run(main()) == (204, True)


def test_the_next_address_is_tried_where_one_says_nothing(run, monkeypatch):
    straight = connecting.connect

    async def connect(number: str, port: int, proxy: connecting.Proxy | None = None) -> socket.socket:
        if number == "127.0.0.9":
            await asyncio.Event().wait()  # as a firewall that drops packets
        return await straight(number, port, proxy)

    monkeypatch.setattr("proxy_addon.replay.transport.connect", connect)

    async def main() -> int:
        addresses = ("127.0.0.9", "127.0.0.1")
        async with site(answering(NO_CONTENT)) as server, transport(server, addresses=addresses, timeout_s=4) as client:
            return (await client.send(post())).status

    assert run(main()) == 204


def test_tls_that_the_other_side_does_not_close_is_no_reason_to_wait(run, tmp_path: Path):
    certificate = tmp_path / "cert.pem"
    certificate.write_bytes(self_signed())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    deaf = threading.Event()

    def serve(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with context.wrap_socket(accepted, server_side=True) as peer:
            peer.recv(65536)
            peer.sendall(NO_CONTENT)
            deaf.wait(LIMIT_S)

    async def main(port: int) -> float:
        target = CheckedTarget(parse_server_url(f"https://127.0.0.1:{port}"), ("127.0.0.1",))
        loop = asyncio.get_running_loop()
        async with HttpTransport(target, timeout_s=LIMIT_S, tls=tls_context(ca=certificate)) as client:
            await client.send(post())
            ends_s = loop.time()
        return loop.time() - ends_s

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        assert run(main(listener.getsockname()[1])) < LIMIT_S / 2
        deaf.set()
        thread.join(LIMIT_S)


def test_nothing_listening_is_told(run):
    async def main() -> tuple[tuple[Failure, str], bool]:
        async with site(answering(NO_CONTENT)) as server:
            pass
        async with transport(server) as client:
            return await told(client), client.has_connected

    (kind, message), has_connected = run(main())
    assert (kind, message, has_connected) == (Failure.UNREACHABLE, "cannot connect: Connection refused", False)


def test_tls(run, tmp_path: Path):
    file = tmp_path / "cert.pem"
    file.write_bytes(self_signed())
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(file)

    async def main() -> None:
        async with site(answering(NO_CONTENT), tls=theirs) as server:
            async with transport(server, scheme="https") as client:
                kind, message = await told(client)
                assert (kind, client.has_connected) == (Failure.UNREACHABLE, False)
                assert message.startswith("its certificate is not trusted: ")
            async with transport(server, scheme="https", tls=tls_context(ca=file)) as client:
                for _ in range(5):
                    assert (await client.send(post())).status == 204
            async with transport(server, scheme="https", tls=tls_context(insecure=True)) as client:
                assert (await client.send(post())).status == 204
            assert server.connections <= 4

    run(main())


def test_a_server_without_tls_is_told(run):
    async def refuses(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def main() -> None:
        async with site(refuses) as server, transport(server, scheme="https") as client:
            assert "the TLS handshake failed" in (await told(client))[1]

    run(main())
