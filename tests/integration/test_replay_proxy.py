"""Replays through an HTTP proxy, where one is asked for."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.test_collector import self_signed
from tests.integration.test_replay import (
    MAX,
    TIMEOUT_S,
    Server,
    Starter,
    everywhere,
    fill,
    own_address,
    playback,
    refused,
    replayed,
    sdk_exchanges,
    server,
    tape,
)
from tests.processes import collector

__all__ = ["server", "tape"]  # fixtures

Proxies = Callable[..., "Proxy"]
VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


class Proxy(Server):
    """An HTTP proxy that opens tunnels, and keeps what it is asked for; or that answers all with ``refusal``."""

    def __init__(self, *, refusal: bytes | None = None, listener: socket.socket | None = None) -> None:
        self._refusal = refusal
        self.asked: list[bytes] = []
        super().__init__(listener=listener)

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = connection.recv(1)
                if not byte:
                    return
                head += byte
            self.asked.append(head)
            if self._refusal is not None:
                connection.sendall(self._refusal)
                return
            host, _, port = head.split(b" ")[1].decode().rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S) as other:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 tests\r\n\r\n")
                back = threading.Thread(target=_pump, args=(other, connection), daemon=True)
                back.start()
                _pump(connection, other)
                back.join(TIMEOUT_S)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxies]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    running: list[Proxy] = []

    def begin(**options: object) -> Proxy:
        running.append(Proxy(**options))  # type: ignore[arg-type]  # passed on
        return running[-1]

    yield begin
    for each in running:
        each.close()


def lines(head: bytes) -> list[str]:
    return head.decode().split("\r\n")[:-2]


def test_the_same_bytes_are_sent_with_and_without_a_tunnel(tape, server: Starter, proxy: Proxies):
    between, direct, tunnelled = proxy(), server(), server()
    replayed(tape, direct.url, *MAX, "--timestamps", "keep", "--concurrency", "1")
    replayed(tape, tunnelled.url, *MAX, "--timestamps", "keep", "--concurrency", "1", "--proxy", between.url)

    to = f"127.0.0.1:{tunnelled.port}"
    assert [lines(head) for head in between.asked] == [[f"CONNECT {to} HTTP/1.1", f"Host: {to}"]]
    here = [(path, request.replace(b"%d" % direct.port, b"%d" % tunnelled.port)) for path, request in direct.requests]
    assert tunnelled.requests == here
    assert len(here) == 28


def test_the_proxy_gets_the_address_that_was_checked_and_no_name(tape, server: Starter, proxy: Proxies):
    between, target = proxy(), server(listener=everywhere())
    replayed(tape, f"http://localhost:{target.port}", *MAX, "--proxy", between.url)
    assert lines(between.asked[0])[0] in (
        f"CONNECT 127.0.0.1:{target.port} HTTP/1.1",
        f"CONNECT [::1]:{target.port} HTTP/1.1",
    )
    assert b"Host: localhost:" in target.requests[0][1]


def test_tls_is_spoken_with_the_target(tape, tmp_path: Path, proxy: Proxies):
    between = proxy()
    certificate = tmp_path / "cert.pem"
    certificate.write_bytes(self_signed())
    with collector(tmp_path, "--cert", str(certificate)) as target:
        url = f"https://127.0.0.1:{target.port}"
        assert "its certificate is not trusted" in refused(tape, url, *MAX, "--proxy", between.url)
        replayed(tape, url, *MAX, "--proxy", between.url, "--ca", str(certificate))
        assert len(target.received()) == 28


def test_user_and_password_are_for_the_proxy_alone(tape, server: Starter, proxy: Proxies):
    between, target = proxy(), server()
    replayed(tape, target.url, *MAX, "--proxy", f"http://me:s%40cret@127.0.0.1:{between.port}")
    token = base64.b64encode(b"me:s@cret").decode()
    assert lines(between.asked[0])[2:] == [f"Proxy-Authorization: Basic {token}"]
    assert not any(b"proxy-authorization" in request.lower() for _, request in target.requests)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_the_proxy_of_the_environment_can_be_used(tape, server: Starter, proxy: Proxies, monkeypatch, name):
    between, target = proxy(), server()
    monkeypatch.setenv(name, between.url)
    replayed(tape, target.url, *MAX, "--proxy", "env")
    assert (len(between.asked) in (1, 2), len(target.requests)) == (True, 28)  # one where it could be used again


@pytest.mark.parametrize("variables", [{"https_proxy": "{}"}, {"http_proxy": "{}", "no_proxy": "127.0.0.1"}, {}])
def test_the_environment_may_name_no_proxy_for_a_target(tape, server: Starter, proxy: Proxies, monkeypatch, variables):
    between, target = proxy(), server()
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(between.url))
    replayed(tape, target.url, *MAX, "--proxy", "env")
    assert (between.connections, len(target.requests)) == (0, 28)


def test_an_unusable_proxy_of_the_environment_is_an_error(tape, server: Starter, proxy: Proxies, monkeypatch):
    target = server()
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1080")
    assert "not a proxy: 'socks5://127.0.0.1:1080' is not an http or https URL" in refused(
        tape, target.url, "--proxy", "env"
    )
    assert target.connections == 0


@pytest.mark.parametrize("variable", ["SESSIONTAPE_REPLAY_PROXY", "HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_no_proxy_is_used_unless_asked_for(tape, server: Starter, proxy: Proxies, monkeypatch, variable):
    between, target = proxy(), server()
    monkeypatch.setenv(variable, between.url)
    replayed(tape, target.url, *MAX)
    assert (between.connections, len(target.requests)) == (0, 28)


def test_the_recorded_upstream_cannot_be_reached_through_a_proxy(sqlite_url, server: Starter, proxy: Proxies):
    trap, between = server(), proxy()
    tape = fill(sqlite_url, sdk_exchanges(upstream=trap.url))
    assert "it is the upstream of recorded sessions" in refused(tape, trap.url, *MAX, "--proxy", between.url)
    assert (trap.connections, between.connections) == (0, 0)


def test_the_recorded_upstream_is_no_proxy(sqlite_url, server: Starter):
    trap, target = server(), server()
    tape = fill(sqlite_url, playback(1, upstream=trap.url))
    said = refused(tape, target.url, *MAX, "--proxy", f"http://localhost:{trap.port}")
    assert f"refused to replay through http://localhost:{trap.port}: it is the upstream of recorded sessions" in said
    assert (trap.connections, target.connections) == (0, 0)


def test_a_proxy_elsewhere_has_to_be_allowed_and_cannot_reach_this_machine(tape, server: Starter, proxy: Proxies):
    address = own_address()
    if address is None:
        pytest.skip("this machine has no other address")
    target, between = server(listener=everywhere()), proxy(listener=everywhere())
    url, through = f"http://{address}:{target.port}", f"http://{address}:{between.port}"
    allowed = ("--allow-host", f"{address}:{target.port}")
    assert f"refused to replay through {through}" in refused(tape, url, *MAX, *allowed, "--proxy", through)
    here = f"http://127.0.0.1:{target.port}"
    assert "leave --proxy out" in refused(tape, here, *MAX, "--allow-host", address, "--proxy", through)
    assert (target.connections, between.connections) == (0, 0)
    replayed(tape, url, *MAX, "--allow-host", address, "--proxy", through)
    assert len(target.requests) == 28


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 403 Not from here\r\nContent-Length: 0\r\n\r\n", "403 Not from here"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication Required"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "did not answer with HTTP"),
        (b"", "did not answer with HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "sent data before it was asked"),
    ],
)
def test_a_proxy_that_refuses_a_tunnel_is_an_error(tape, server: Starter, proxy: Proxies, answer, says):
    between, target = proxy(refusal=answer), server()
    said = refused(tape, target.url, *MAX, "--proxy", between.url)
    assert "no connection to" in said
    assert says in said
    assert target.connections == 0


def test_an_unreachable_proxy_is_an_error(tape, server: Starter, proxy: Proxies):
    between, target = proxy(), server()
    between.stop_listening()
    assert f"no connection to the proxy {between.url}" in refused(tape, target.url, *MAX, "--proxy", between.url)
    assert target.connections == 0


@pytest.mark.parametrize(
    "text", ["127.0.0.1:3128", "https://127.0.0.1:3128", "http://127.0.0.1:3128/path", "http://a:b@", ""]
)
def test_an_invalid_proxy_is_an_error(tape, server: Starter, text):
    target = server()
    said = refused(tape, target.url, "--proxy", text)
    assert "Invalid value for '--proxy'" in said
    assert "write --proxy http://host:port" in " ".join(said.split())
    assert target.connections == 0
