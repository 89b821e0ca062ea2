from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from proxy_addon.demo.player import CLIP

SESSION_ID = "4a0f" * 16


@dataclass
class Collector:
    """A server that keeps what it is asked, with the client's port: one port is one connection."""

    url: str = ""
    start_status: int = 201
    event_status: int = 204
    location: str | None = f"/api/v1/sessions/{SESSION_ID}"
    requests: list[tuple[int, str, dict[str, str], Any]] = field(default_factory=list)
    first_request: threading.Event = field(default_factory=threading.Event)


@contextmanager
def collector(**answers: Any) -> Iterator[Collector]:
    kept = Collector(**answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.requests.append((self.client_address[1], self.path, dict(self.headers), json.loads(body)))
            kept.first_request.set()
            is_start = self.path.endswith("/api/v1/sessions")
            status = kept.start_status if is_start else kept.event_status
            answer = b'{"message": "no"}' if status >= 400 else b""
            self.send_response(status)
            if is_start and status == 201 and kept.location is not None:
                self.send_header("Location", kept.location)
            if status != 204:
                self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        kept.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()


def start_player(url: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "proxy_addon.demo.player", url, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_player(url: str, *options: str) -> tuple[int, str, str]:
    with start_player(url, *options) as process:
        out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_it_reports_the_clip_in_order_to_the_session_it_was_given():
    with collector() as server:
        code, out, err = run_player(f"{server.url}/tv", "--speed", "20")
    assert (code, err) == (0, "")
    assert [body["eventType"] for *_, body in server.requests] == [step.type for step in CLIP]
    paths = [path for _, path, *_ in server.requests]
    assert paths == ["/tv/api/v1/sessions"] + [f"/tv/api/v1/sessions/{SESSION_ID}/events"] * (len(CLIP) - 1)
    assert {headers["Content-Type"] for _, _, headers, _ in server.requests} == {"application/json"}
    assert len({port for port, *_ in server.requests}) == 1
    times = [body["playerTime"]["ts"] for *_, body in server.requests]
    assert times == sorted(set(times))
    lines = out.splitlines()
    assert len(lines) == len(CLIP)
    assert SESSION_ID in lines[0]
    assert lines[-1].endswith("204")


def test_what_it_is_told_to_forget_is_not_reported():
    with collector() as server:
        code, out, _ = run_player(server.url, "--speed", "20", "--forget", "adComplete", "--forget", "ping")
    sent = [body["eventType"] for *_, body in server.requests]
    assert (code, len(out.splitlines())) == (0, len(sent))
    assert sent == [step.type for step in CLIP if step.type not in ("adComplete", "ping")]


def test_a_refused_start_is_told_and_nothing_follows():
    with collector(start_status=500) as server:
        code, out, err = run_player(server.url)
    assert (code, out) == (1, "")
    assert err == f'player: sessionStart: {server.url} answered 500: {{"message": "no"}}\n'
    assert len(server.requests) == 1


def test_a_refused_event_is_told():
    with collector(event_status=404) as server:
        code, out, err = run_player(server.url)
    assert code == 1
    assert "adBreakStart" in err
    assert "404" in err
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize("location", [None, "/login", f"https://proxy.example/api/v1/sessions/{SESSION_ID}"])
def test_a_location_that_sdks_cannot_use_is_no_session(location):
    with collector(location=location) as server:
        code, _, err = run_player(server.url)
    assert code == 1
    assert "no session ID" in err
    assert len(server.requests) == 1


def test_nothing_listening_is_told_without_a_traceback():
    with socket.socket() as taken:  # bound but not listening: nobody else gets the port meanwhile
        taken.bind(("127.0.0.1", 0))
        code, out, err = run_player(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert (code, out) == (1, "")
    assert err.startswith("player: sessionStart: no answer from http://127.0.0.1:")
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(number):
    with collector() as server, start_player(server.url) as process:
        assert server.first_request.wait(timeout=20)
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert err == "player: stopped\n"
