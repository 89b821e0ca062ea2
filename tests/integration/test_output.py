"""What a recorder prints, and that nobody has to read it."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import select
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from storage.revision import REVISION
from tests import forking, processes
from tests.builders import body, event_dict

START = body(event_dict("sessionStart"))
WITHIN_S = 60


class Recorder:
    """A recorder of which stdout and stderr are read apart."""

    def __init__(self, cwd: Path, *options: str, env: dict[str, str] | None = None) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self._changed = threading.Condition()
        self._ended = 0
        command = [processes.COMMAND, "record", "--set", f"confdir={cwd / 'ca'}", *options]
        self.process = forking.Popen(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._readers = [
            threading.Thread(target=self._read, args=each, daemon=True)
            for each in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], into: list[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    into.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended += 1
            self._changed.notify_all()

    def line(self, lines: list[str], has: str) -> str:
        """Wait for a line with this in it."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended == 2 or any(has in line for line in lines), WITHIN_S)
        found = next((line for line in lines if has in line), None)
        assert found is not None, (has, self.out, self.err)
        return found

    @property
    def port(self) -> int:
        return int(self.line(self.out, "listening on").split(" -> ")[0].rpartition(":")[2])

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(WITHIN_S)
        for reader in self._readers:
            reader.join()
        assert "Traceback" not in "".join(self.err)
        return code


@contextmanager
def recording(cwd: Path, *options: str) -> Iterator[Recorder]:
    """A recorder that ends well."""
    recorder = Recorder(cwd, *options)
    try:
        yield recorder
        assert recorder.stop() == 0
    finally:
        recorder.process.kill()


def ask(port: int, method: str, path: str, content: bytes | None = None) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)) as device:
        device.request(method, path, content, {"Content-Type": "application/json"})
        answer = device.getresponse()
        answer.read()
        return answer.status


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


# How it starts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("upstream", "listen", "shown"),
    [
        ("http://127.0.0.1:9", "127.0.0.1:PORT", "http://127.0.0.1:PORT"),
        ("https://127.0.0.1:9/some/path/", "PORT", "http://127.0.0.1:PORT"),
        ("https://upstream.invalid", "localhost:PORT", "http://localhost:PORT"),
        ("https://[::1]:9", ":PORT", "http://0.0.0.0:PORT"),
    ],
    ids=["http", "https with a path", "a name", "all addresses"],
)
def test_the_ready_line_is_on_stdout_once_for_every_upstream(
    upstream: str, listen: str, shown: str, tmp_path: Path
) -> None:
    port = str(free_port())
    store = ("--store", "sqlite:///tape.db")
    with recording(tmp_path, "--upstream", upstream, "--listen", listen.replace("PORT", port), *store) as recorder:
        recorder.line(recorder.out, "listening on")
        if ".invalid" in upstream:
            assert ": cannot resolve upstream.invalid;" in recorder.line(recorder.err, "cannot reach")
        if listen.startswith(":"):
            assert "anyone who can reach" in recorder.line(recorder.err, "anyone")
    url = shown.replace("PORT", port)
    assert recorder.out == [f"listening on {url} -> {upstream.rstrip('/')}, store sqlite:///tape.db"]


def test_every_open_mode_is_named_once_with_what_restricts_it(tmp_path: Path) -> None:
    port = str(free_port())
    modes = ("--mode", f"socks5@{port}", "--mode", "regular@127.0.0.1:0")
    with recording(tmp_path, "--store", "sqlite:///tape.db", *modes) as recorder:
        recorder.line(recorder.out, "-> regular")
        said = recorder.line(recorder.err, "anyone")
    opened = [f"socks5://{host}:{port}" for host in ("0.0.0.0", "[::]") if f"//{host}:" in said]  # perhaps without IPv6
    assert {line.split()[2] for line in recorder.out if "socks5" in line} == set(opened) != set()
    assert f"can use the proxy; --mode socks5@127.0.0.1:{port} restricts it to this machine" in said
    assert len([line for line in recorder.err if "anyone" in line]) == 1


@pytest.mark.parametrize(
    ("options", "home", "says"),
    [
        ("", "/dev/null", ["mitmproxy cannot keep its certificates in /dev/null/.mitmproxy", "--set confdir=FOLDER"]),
        ("--set confdir=empty", None, ["empty/mitmproxy-ca.pem does not hold the certificate", "--set confdir=FOLDER"]),
        ("--set confdri=x", None, ["--set confdri: mitmproxy has no such option", "did you mean confdir?"]),
        ("--set mode=regular", None, ["--set mode: this option cannot be set here"]),
        ("--mode nope", None, ["'nope' is not a mode of mitmproxy"]),
        ("--listen 192.0.2.1:1", None, ["cannot listen on 192.0.2.1:1: this machine has no address 192.0.2.1"]),
        ("--listen nowhere", None, ["is not an address to listen on: write HOST:PORT"]),
        ("--listen 127.0.0.1:70000", None, ["the highest port is 65535"]),
        ("--listen :8098 --metrics 8098", None, ["--listen and --metrics are the same address, 0.0.0.0:8098"]),
    ],
    ids=["HOME", "CA", "unknown option", "own option", "mode", "address", "no address", "port", "the pages"],
)
def test_an_error_at_start_is_one_sentence_and_creates_no_store(
    options: str, home: str | None, says: list[str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "mitmproxy-ca.pem").touch()
    command = [processes.COMMAND, "record", "--upstream", "http://127.0.0.1:9", *processes.ANY_PORT, *options.split()]
    environment = os.environ | ({} if home is None else {"HOME": home})
    done = forking.run(command, cwd=tmp_path, text=True, env=environment, timeout=WITHIN_S)
    assert (done.returncode, done.stdout) == (2, "")
    assert [each for each in says if each not in done.stderr] == []
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "sessiontape.db").exists()


# What goes on beside the exchanges -----------------------------------------------------------------------------------


def test_what_goes_wrong_is_told_once_with_its_remedy_and_then_counted(tmp_path: Path, sqlite_url: str) -> None:
    upstream = free_port()
    url = f"http://127.0.0.1:{upstream}"
    options = ("--upstream", url, *processes.ANY_PORT, "--store", sqlite_url)
    with recording(tmp_path, *options) as recorder:
        port = recorder.port
        for _ in range(3):
            assert ask(port, "POST", "/api/v1/sessions", START) == 502
        with processes.serving([processes.COMMAND, "collector", "--listen", str(upstream)], tmp_path):
            assert ask(port, "POST", "/api/v1/sessions", START) == 201
            for number in range(4):
                assert ask(port, "GET", f"/other{number}") == 404
        for _ in range(2):
            assert ask(port, "CONNECT", "device.example:443") == 405
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(ssl.SSLError):
                ssl.create_default_context().wrap_socket(plain, server_hostname="media.example")
        recorder.line(recorder.err, "TLS handshake")
        assert ask(port, "POST", "/api/v1/sessions", START) == 502
    away = f"WARNING cannot reach {url}: connection refused; devices get 502 until it is back"
    told = [line.partition("Z ")[2] for line in recorder.err]
    assert [re.sub(r"[0-9]+\.[0-9] s", "1.0 s", line) for line in told if url in line] == [
        away,
        f"WARNING {url} is back after 1.0 s; 3 requests got 502 meanwhile",
        away,
        f"WARNING {url} could not be reached until the end; 1 request got 502",
    ]
    assert [line for line in told if "not recorded" in line] == [
        "INFO GET /other0 is forwarded but not recorded: only paths with /api/v<n>/ in them belong to the API",
        "INFO forwarded but not recorded: 3 more in the last minute, the first GET /other1",
    ]
    refused, more = (line for line in told if "CONNECT" in line)
    assert refused.startswith("WARNING a CONNECT from 127.0.0.1 to device.example:443 was refused")
    assert "--mode regular" in refused
    assert more == (
        "WARNING CONNECT refused: 1 more in the last minute, the first from 127.0.0.1 to device.example:443"
    )
    untrusted, more = (line for line in told if "handshake" in line)
    assert untrusted.startswith("WARNING the TLS handshake with 127.0.0.1 failed: it does not trust")
    assert "media.example" in untrusted
    assert f"{tmp_path / 'ca'}/mitmproxy-ca-cert.pem" in untrusted
    assert "--cert FILE" in untrusted
    assert more == "WARNING TLS handshake failed: 2 more in the last minute, the first with 127.0.0.1"
    assert told[-1].startswith("INFO 5 exchanges stored, 0 lost")


@pytest.mark.parametrize("newer", [False, True], ids=["missing", "newer"])
def test_while_the_schema_is_not_the_right_one_exchanges_wait_and_the_remedy_is_named(
    newer: bool, tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path / 'tape.db'}"
    with processes.collector(tmp_path) as upstream:
        options = ("--upstream", upstream.url, *processes.ANY_PORT, "--store", store)
        with recording(tmp_path, *options) as recorder:
            assert ask(recorder.port, "POST", "/api/v1/sessions", START) == 201
            if newer:
                change(tmp_path / "tape.db", "ALTER TABLE exchanges RENAME COLUMN outcome TO ending", "9999")
            else:
                assert processes.run("db", "downgrade", "base", "--yes", "--store", store).returncode == 0
            assert ask(recorder.port, "POST", "/api/v1/sessions", START) == 201
            remedy = "pip install --upgrade sessiontape" if newer else f"sessiontape db upgrade --store '{store}'"
            assert "exchanges wait" in recorder.line(recorder.err, remedy)
            if newer:
                change(tmp_path / "tape.db", "ALTER TABLE exchanges RENAME COLUMN ending TO outcome", REVISION)
            else:
                assert processes.run("db", "upgrade", "--store", store).returncode == 0
            recorder.line(recorder.err, "the store is back")
    assert len(processes.printed("sessions", "--store", store)) == 2


def change(path: Path, statement: str, revision: str) -> None:
    """Do to a store what another version of the program does."""
    with closing(sqlite3.connect(path, timeout=WITHIN_S)) as db:
        db.execute(statement)
        db.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        db.commit()


def test_quiet_logs_errors_alone_and_json_is_json(tmp_path: Path, sqlite_url: str) -> None:
    options = ("--upstream", f"http://127.0.0.1:{free_port()}", *processes.ANY_PORT, "--store", sqlite_url)
    with recording(tmp_path, *options, "--quiet") as recorder:
        assert ask(recorder.port, "POST", "/api/v1/sessions", START) == 502
    assert recorder.err == []
    with (
        recording(tmp_path, *options, "--log-format", "json", "--engine", "hooks") as recorder,
        socket.create_connection(("127.0.0.1", recorder.port)) as device,
    ):
        device.sendall(b"GET /\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n")
        assert device.recv(100).startswith(b"HTTP/1.1 502")
    logged = [json.loads(line) for line in recorder.err]
    assert {(each["level"], each["logger"].partition(".")[0]) for each in logged} == {
        ("info", "proxy_addon"),
        ("warning", "proxy_addon"),
    }
    assert any(r"GET /\x1b[31m is forwarded but not recorded" in each["message"] for each in logged)


# Who watches ---------------------------------------------------------------------------------------------------------


def play_badly(port: int) -> None:
    """Play a session whose pings come too late, and in which one time is a string."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)) as device:
        device.request("POST", "/api/v1/sessions", START, {"Content-Type": "application/json"})
        answer = device.getresponse()
        answer.read()
        path = f"{answer.headers['Location']}/events"
        for event in (event_dict("play"), event_dict("pla\x1b[31my", ts=1), event_dict("sessionEnd")):
            device.request("POST", path, body(event), {"Content-Type": "application/json"})
            device.getresponse().read()


def test_on_a_terminal_starts_ends_and_findings_come_as_they_happen(tmp_path: Path, sqlite_url: str) -> None:
    ours, theirs = pty.openpty()
    with processes.collector(tmp_path) as upstream, closing(os.fdopen(ours, "rb", buffering=0)) as terminal:
        command = [
            processes.COMMAND, "record", "--upstream", upstream.url, *processes.ANY_PORT, "--store", sqlite_url,
            "--set", f"confdir={tmp_path / 'ca'}",
        ]  # fmt: skip
        process = forking.Popen(command, cwd=tmp_path, stdout=theirs, stderr=theirs)
        os.close(theirs)
        try:
            shown = read_until(terminal, rb"listening on \S+ -> .*\n")
            play_badly(int(shown.partition(b" -> ")[0].rpartition(b":")[2]))
            shown = read_until(terminal, rb"ended      .*\n")
            process.send_signal(signal.SIGTERM)
            shown += read_until(terminal, rb"exchanges stored.*\n")
            assert process.wait(WITHIN_S) == 0
        finally:
            process.kill()
    assert b"\x1b" not in shown
    lines = [re.sub(r"^[0-9:]{8}Z  [0-9a-f]{16}  ", "", line) for line in shown.decode().splitlines()]
    assert lines[0] == "HTML5 Player   start      A film"
    assert any(line.startswith("HTML5 Player   error      event-type-unknown #3 pla") for line in lines)
    assert len([line for line in lines if " event-type-unknown #" in line]) == 1
    assert any(re.fullmatch(r"HTML5 Player   ended      4 events in 0:[0-9]{2}", line) for line in lines)
    assert any(re.match(r"HTML5 Player   \w+ +ts-[a-z-]+", line) for line in lines)
    assert lines[-1].endswith("INFO 4 exchanges stored, 0 lost")


def read_until(terminal: IO[bytes], pattern: bytes) -> bytes:
    """Return what a terminal shows, up to a match."""
    shown = b""
    while not re.search(pattern, shown):
        assert select.select([terminal], [], [], WITHIN_S)[0], shown
        shown += terminal.read(65536)
    return shown


def test_for_programs_the_live_lines_are_json(tmp_path: Path, sqlite_url: str) -> None:
    with processes.collector(tmp_path) as upstream:
        options = ("--upstream", upstream.url, *processes.ANY_PORT, "--store", sqlite_url, "--live", "json", "--quiet")
        with recording(tmp_path, *options) as recorder:
            play_badly(recorder.port)
            recorder.line(recorder.out, '"end"')
    news = [json.loads(line) for line in recorder.out[1:]]
    assert [each["kind"] for each in news if each["kind"] != "finding"] == ["start", "end"]
    (session,) = processes.printed("sessions", "--store", sqlite_url)
    assert {each["session"]["id"] for each in news} == {session["id"]}
    told = {each["finding"]["rule"] for each in news if each["kind"] == "finding"}
    shown = processes.printed("show", session["id"], "--store", sqlite_url)
    stored = [finding for each in (shown, *shown["exchanges"]) for finding in each["findings"]]
    assert told == {finding["rule"] for finding in stored}


# Nobody reads --------------------------------------------------------------------------------------------------------


@contextmanager
def full_pipe() -> Iterator[int]:
    """The end to write to of a pipe that has no room left, and that nobody reads."""
    read, write = os.pipe()
    os.set_blocking(write, False)  # the standard library's signature
    with suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)  # as above
    try:
        yield write
    finally:
        os.close(read)
        os.close(write)


def all_of(work: Callable[[int], None], number: int, *, workers: int) -> None:
    """Do a piece of work a number of times, in several threads."""
    with ThreadPoolExecutor(workers) as pool:
        try:
            for done in [pool.submit(work, each) for each in range(number)]:
                done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # where nothing is served any more, each takes its time
            raise


def test_pipes_that_nobody_reads_block_neither_the_traffic_nor_stopping(tmp_path: Path, sqlite_url: str) -> None:
    port, requests, handshakes, devices = free_port(), 2_000, 200, 8
    untrusting = ssl.create_default_context()

    def play(_: int) -> None:
        # Plain sockets: http.client would take as long as the proxy.
        with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as device:
            for number in range(requests // devices):
                path = b"/api/v1/sessions" if number % 20 == 0 else b"/other"
                head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                device.sendall(head % (path, len(START)) + START)
                assert answer_of(device) in (b"201", b"404")

    def distrust(_: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as plain, suppress(ssl.SSLError):
            untrusting.wrap_socket(plain, server_hostname="media.example")
            raise AssertionError

    with processes.collector(tmp_path) as upstream, full_pipe() as out, full_pipe() as err:
        command = [
            processes.COMMAND, "record", "--upstream", upstream.url, "--listen", str(port), "--store", sqlite_url,
            "--durability", "async", "--live", "text",
        ]  # fmt: skip
        process = forking.Popen(command, cwd=tmp_path, stdout=out, stderr=err)
        try:
            wait_for_port(port)
            began_s = time.monotonic()
            with ThreadPoolExecutor(2) as both:
                playing = both.submit(all_of, play, devices, workers=devices)
                both.submit(all_of, distrust, handshakes, workers=4).result()
                playing.result()
            served_s = time.monotonic() - began_s
            began_s = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(WITHIN_S) == 0
            stopped_s = time.monotonic() - began_s
        finally:
            process.kill()
    print(f"{requests} requests and {handshakes} failed handshakes in {served_s:.1f} s, stopped in {stopped_s:.1f} s")
    assert len(processes.printed("sessions", "--limit", "1000", "--store", sqlite_url)) == requests // 20 + devices // 2


def answer_of(device: socket.socket) -> bytes:
    """Return the status of an answer, all of which has arrived."""
    answer = b""
    while not (whole := re.match(rb"(?is)HTTP/1.1 ([0-9]+) .*content-length: ([0-9]+).*?\r\n\r\n", answer)) or (
        len(answer) < whole.end() + int(whole[2])
    ):
        more = device.recv(65536)
        assert more, answer
        answer += more
    return whole[1]


def wait_for_port(port: int) -> None:
    """Wait until a server accepts connections, if its output cannot be read."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
        else:
            return
