"""Conversations between a device and an upstream, and what came of them behind different proxies, comparably."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lanes import free_port, serving
from tests.scripted import Peer, device, eventually

NGINX = shutil.which("nginx")
_NOT_COMPARED = {"host", "connection", "keep-alive", "server", "date", "transfer-encoding", "content-length", "x-from"}
"""Headers of one hop; and framing, which a proxy may change as long as the body is the same."""
_CUT_OFF = ("cut off",)


@dataclass(frozen=True)
class Message:
    """A request or an answer; of an answer that is not upstream's own, only the status is kept."""

    line: str
    headers: tuple[str, ...] = ()
    body: bytes = b""
    trailers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Talk:
    """What a device sends, how its upstream answers, and what comes of it.

    Attributes:
        sends: Pieces; where one is a pair, the device waits for the first before it sends the second.
        answers: The upstream's side.
        gets: What the device gets behind a lane: status and body of each answer; those that are the proxy's own say so.
        forwarded: How many requests upstream gets.
        hooks: Why it is otherwise behind the hooks path; None if it is not.
        nginx: Why it is otherwise behind nginx; None if it is not.
    """

    sends: tuple[bytes | tuple[bytes, bytes], ...]
    answers: Callable[[Peer], object]
    gets: str
    forwarded: int = 1
    hooks: str | None = None
    nginx: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What each side got.

    Attributes:
        hangs: Whether the device was still waiting at the end.
        is_as_sent: Whether what they got is what was sent: lines, headers, bodies and trailers.
    """

    device: tuple[Message, ...]
    upstream: tuple[Message, ...]
    hangs: bool
    is_as_sent: bool

    def gets(self) -> str:
        """Return what the device got, in few words."""
        return ", ".join(f"{each.line} {each.body[:9].decode('latin-1')}".rstrip() for each in self.device)


def carried_out(talk: Talk, port: int, peers: list[Peer], within_s: float) -> Outcome:
    """Let a device talk through a proxy, and return what came of it.

    Args:
        peers: The connections of the upstream.
        within_s: How long the device waits for anything.
    """
    with device(port) as player:
        player.socket.settimeout(within_s)
        hangs = False
        try:
            for piece in talk.sends:
                if isinstance(piece, tuple):
                    player.until(piece[0])
                with suppress(ConnectionError):
                    player.send(piece[-1] if isinstance(piece, tuple) else piece)
            player.to_end()
        except TimeoutError:
            hangs = True
        except AssertionError:
            pass  # closed before a marker
    forwarded = requests(b"".join(peer.received for peer in peers))
    methods = [message.line.split(" ")[0] for message in forwarded]
    got = answers(player.received, methods)
    own = [each for each in got if not each.line.startswith("own")]
    is_as_sent = set(own) <= set(answers(b"".join(peer.sent for peer in peers), methods))
    if forwarded:
        sent = requests(player.sent.replace(b" http://evil.example/", b" /"))
        is_as_sent &= len(forwarded) == len(sent) and all(map(_is_same_or_cut_off, forwarded, sent))
    return Outcome(tuple(got), tuple(forwarded), hangs, is_as_sent)


def _is_same_or_cut_off(got: Message, sent: Message) -> bool:
    is_beginning = got.trailers == _CUT_OFF and sent.body.startswith(got.body)
    return got == sent or (is_beginning and (got.line, got.headers) == (sent.line, sent.headers))


def requests(data: bytes) -> list[Message]:
    """Read the requests that an upstream got, as far as they are whole."""
    found: list[Message] = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        line, headers = _head(head)
        body, trailers, data = _body(headers, data, until_close=False)
        found.append(Message(line, _compared(headers), body, trailers))
    return found


def answers(data: bytes, methods: list[str]) -> list[Message]:
    """Read the answers that a device got."""
    found: list[Message] = []
    methods = list(methods)
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        line, headers = _head(head)
        if not line.startswith("HTTP/"):
            return [*found, Message("no HTTP")]
        status = line.split(" ")[1]
        is_upstreams = any(name == "x-from" for name, _ in headers)
        if status[0] == "1":
            found.append(Message(status))
            continue
        method = methods.pop(0) if methods else "GET"
        if method == "HEAD" or status in ("204", "304"):
            body, trailers = b"", tuple[str, ...]()
        else:
            body, trailers, data = _body(headers, data, until_close=True)
        found.append(Message(status, _compared(headers), body, trailers) if is_upstreams else Message(f"own {status}"))
    return found


def _head(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    line, *lines = head.lstrip(b"\r\n").decode("latin-1").split("\r\n")
    return line, [(name.lower(), value.strip()) for name, _, value in (each.partition(":") for each in lines)]


def _compared(headers: list[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"{name}: {value}" for name, value in headers if name not in _NOT_COMPARED)


def _body(headers: list[tuple[str, str]], data: bytes, *, until_close: bool) -> tuple[bytes, tuple[str, ...], bytes]:
    framing = dict(headers)
    if "chunked" in framing.get("transfer-encoding", ""):
        body = b""
        while data:
            size, _, data = data.partition(b"\r\n")
            length = int(size.partition(b";")[0] or b"0", 16)
            if not length:
                trailer, _, data = (b"\r\n" + data).partition(b"\r\n\r\n")
                _, trailers = _head(b"\r\n\r\n" + b"x" + trailer)
                return body, tuple(f"{name}: {value}" for name, value in trailers), data
            body, data = body + data[:length], data[length + 2 :]
        return body, _CUT_OFF, b""
    if "content-length" in framing:
        length = int(framing["content-length"])
        return data[:length], _CUT_OFF if len(data) < length else (), data[length:]
    return (data, (), b"") if until_close else (b"", (), data)


@contextmanager
def behind(engine: str, url: str, folder: Path) -> Iterator[int]:
    """Run a proxy in front of an upstream, and return its port."""
    if engine == "nginx":
        with nginx(url, folder) as port:
            yield port
    else:
        with serving(url, engine) as running:
            yield running.port


@contextmanager
def nginx(url: str, folder: Path) -> Iterator[int]:
    port = free_port()
    assert NGINX is not None
    (folder / "nginx.conf").write_text(
        f"""
        daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 64; }}
        http {{
            access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
            uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e; ignore_invalid_headers off;
            server {{
                listen 127.0.0.1:{port};
                large_client_header_buffers 4 64k; client_max_body_size 0;
                location / {{
                    proxy_pass {url}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;
                    proxy_buffering off; proxy_next_upstream off;
                }}
            }}
        }}
        """,
        encoding="utf-8",
    )
    running = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        eventually(lambda: _is_listening(port))
        yield port
    finally:
        running.terminate()
        running.wait(10)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
