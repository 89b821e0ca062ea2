"""``record --pseudonymise`` on real processes: no personal value on any disk or in any output, and the wire untouched."""

from __future__ import annotations

import gzip
import json
import socket
import socketserver
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from tests import personal, processes
from tests.builders import SESSION_ID, body, event_dict

EVENTS = f"/api/v1/sessions/{SESSION_ID}/events"
ANSWER = json.dumps(personal.ANSWER).encode()
LARGE = {"eventType": "ping", "customMetadata": {"userId": "metadata-user-8812", "fill": "x" * 70_000}}


class Upstream(socketserver.ThreadingTCPServer):
    """Refuses pings, answers with personal values of the device, and keeps the bytes that it gets."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.received: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Exchange(socketserver.StreamRequestHandler):
    server: Upstream

    def handle(self) -> None:
        while line := self.rfile.readline():
            head = line
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                head += line
            lengths = [
                each.partition(b":")[2] for each in head.splitlines() if each.lower().startswith(b"content-length")
            ]
            sent = self.rfile.read(int(lengths[0]) if lengths else 0)
            self.server.received.append(head + b"\r\n" + sent)
            status = b"400 Bad Request" if b'"ping"' in sent else b"201 Created"
            headers = [*personal.ANSWER_HEADERS, ("Content-Length", str(len(ANSWER)))]
            if b"POST /api/v1/sessions?" in head or b"POST /api/v1/sessions " in head:
                headers.append(("Location", f"/api/v1/sessions/{SESSION_ID}"))
            told = b"".join(f"{name}: {value}\r\n".encode() for name, value in headers)
            self.wfile.write(b"HTTP/1.1 " + status + b"\r\n" + told + b"\r\n" + ANSWER)


@contextmanager
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def send(port: int, method: str, path: str, sent: bytes = b"", *more: tuple[str, str], cut: int = 0) -> bytes:
    """Send one request as bytes, and return the bytes of the answer; with ``cut``, leave before its last bytes."""
    headers = [("Host", "upstream.example"), ("Connection", "close"), *personal.HEADERS, *more]
    head = "".join(f"{name}: {value}\r\n" for name, value in [*headers, ("Content-Length", str(len(sent)))])
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + sent[: len(sent) - cut])
        answer = b""
        while not cut and (piece := connection.recv(65536)):
            answer += piece
    return answer


def play(port: int) -> list[bytes]:
    """Send what has personal values in every place, and return what was answered."""
    query = personal.QUERY
    answers = [
        send(port, "POST", "/api/v1/sessions" + query, personal.start_body()),
        send(port, "POST", EVENTS + query, body(event_dict("ping", playhead=10))),
        send(port, "POST", EVENTS, body(LARGE)),
        send(port, "POST", EVENTS, gzip.compress(personal.start_body(), mtime=0), ("Content-Encoding", "gzip")),
        send(port, "POST", EVENTS, personal.start_body()[:-9]),
        send(port, "POST", EVENTS, b"\x00\x01" + personal.VISITOR.encode()),
        send(port, "GET", "/api/v1/schemas/sessionStart" + query),
        send(port, "PUT", f"/u/zoe.customer@shop.example.org/api/v1/other{query}", personal.start_body()),
        send(port, "GET", "/watch" + query),
        send(port, "CONNECT", "site.example:443"),
    ]
    send(port, "POST", EVENTS + query, personal.start_body(), cut=9)
    answers.append(send(port, "POST", EVENTS, body(event_dict("sessionEnd", playhead=20))))
    return answers


def everything_in(store_url: str) -> str:
    """Return all columns of all tables."""
    url = make_url(store_url)
    if url.drivername == "sqlite":
        with closing(sqlite3.connect(url.database or "")) as lite:
            tables = [name for (name,) in lite.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return repr([lite.execute(f"SELECT * FROM {name}").fetchall() for name in tables])
    with psycopg.connect(store_url) as db:
        rows = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return repr([db.execute(f'SELECT * FROM "{name}"'.encode()).fetchall() for (name,) in rows])


def files_of(folder: Path) -> dict[str, list[str]]:
    """Return the personal values in the files of a folder, by file."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".pem")]
    assert paths
    found = {}
    for path in paths:
        with suppress(FileNotFoundError):  # a temporary file of the database
            found[path.name] = personal.found_in(path.read_bytes())
    return {name: values for name, values in found.items() if values}


def judged(store_url: str) -> list[Any]:
    (shown,) = processes.printed("sessions", "--store", store_url)
    session = processes.printed("show", shown["id"], "--store", store_url)
    return [
        [[finding["rule"], finding["severity"], finding["pointer"]] for finding in each["findings"]]
        for each in session["exchanges"]
    ]


def test_no_personal_value_is_on_a_disk_or_in_an_output_and_the_wire_is_untouched(tmp_path, store_url, sqlite_url):
    plain_url = f"sqlite:///{tmp_path / 'plain' / 'tape.db'}"
    folder = tmp_path / "tokens"
    for each in (folder, tmp_path / "plain"):
        each.mkdir()
    url = store_url if store_url != sqlite_url else f"sqlite:///{folder / 'tape.db'}"
    with upstream() as server:
        with processes.recorder(tmp_path / "plain", server.url, plain_url) as proxy:
            plain_answers, plain_received = play(proxy.port), server.received
        server.received = []
        with processes.recorder(
            folder, server.url, url, "--pseudonymise", "--live", "json", "--set", f"confdir={folder}"
        ) as proxy:
            assert (play(proxy.port), server.received) == (plain_answers, plain_received)
            assert files_of(folder) == {}  # with the WAL, while it is being written
        output = proxy.process.output
    assert personal.found_in(everything_in(plain_url))
    assert personal.found_in(repr(plain_received))
    assert personal.found_in(everything_in(url)) == []
    assert files_of(folder) == {}
    assert personal.found_in(output) == []
    assert "a CONNECT from " in output
    assert "from 127.0.0.1" not in output
    assert '"rule": "upstream-refused"' in output
    assert "tokens stand for personal values in what is stored" in output
    assert judged(url) == judged(plain_url)
    shown = processes.run("show", "last", "--bodies", "--store", url)
    assert "pseudonymised: tokens stand for personal values" in shown.stdout
    assert personal.found_in(shown.stdout) == []
    assert "pseudonymised" in processes.run("sessions", "--store", url).stdout
    assert "pseudonymised" not in processes.run("sessions", "--store", plain_url).stdout
    (session,) = processes.printed("sessions", "--store", url)
    assert session["pseudonymised"] is True


def test_one_visitor_has_one_token_in_a_recording_and_for_ever_under_a_key_file(tmp_path, sqlite_url):
    key = tmp_path / "tape.key"
    for options in ([], [], ["--key-file", str(key)], ["--key-file", str(key)]):
        with (
            upstream() as server,
            processes.recorder(tmp_path, server.url, sqlite_url, "--pseudonymise", *options) as proxy,
        ):
            for _ in range(2):
                send(proxy.port, "POST", "/api/v1/sessions", personal.start_body())  # the second repeats the first
    assert key.stat().st_mode & 0o777 == 0o600
    sessions = processes.printed("sessions", "--store", sqlite_url)[::-1]
    shown = [processes.printed("show", each["id"], "--store", sqlite_url) for each in sessions]
    bodies = [json.loads(each["exchanges"][0]["request"]["body"]["text"]) for each in shown]
    tokens = [each["params"]["analytics.visitorId"] for each in bodies]
    assert len(tokens) == 8
    assert tokens[0] == tokens[1] != tokens[2] == tokens[3]
    assert tokens[4:] == [tokens[4]] * 4
    assert len(set(tokens)) == 3
    for first, second in zip(sessions[::2], sessions[1::2], strict=True):
        assert first["client_address"] == second["client_address"] != "127.0.0.1"


def test_attempts_to_open_a_session_are_still_linked(tmp_path, sqlite_url):
    start = body(event_dict("sessionStart", params={**personal.PARAMS, "media.length": "wrong"}))
    with (
        processes.collector(tmp_path) as server,
        processes.recorder(tmp_path, server.url, sqlite_url, "--pseudonymise", "--reject-invalid") as proxy,
    ):
        for _ in range(2):
            assert b"HTTP/1.1 400" in send(proxy.port, "POST", "/api/v1/sessions", start)
    second, first = processes.printed("sessions", "--store", sqlite_url)
    assert second["retry_of"] == first["id"]
    assert personal.found_in(everything_in(sqlite_url)) == []


def test_the_addon_inside_mitmproxy_does_it_too(tmp_path, sqlite_url):
    folder = tmp_path / "tokens"
    folder.mkdir()
    store_url = f"sqlite:///{folder / 'tape.db'}"
    options = ("--set", "tape_pseudonymise=true", "--set", f"tape_key_file={tmp_path / 'key'}")
    with upstream() as server, processes.mitmdump(tmp_path, server.url, store_url, *options) as proxy:
        play(proxy.port)
        assert files_of(folder) == {}
    assert personal.found_in(everything_in(store_url)) == []
    assert files_of(folder) == {}
    assert len(key := (tmp_path / "key").read_text(encoding="ascii").strip()) == 64
    assert key not in proxy.process.output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--key-file", "k"], "add --pseudonymise"),
        (["--pseudonymise", "--key-file", "."], "is a directory"),
        (["--pseudonymise", "--key-file", "none/k"], "cannot make the key file"),
        (["--pseudonymise", "--key-file", "open"], "chmod 600"),
    ],
)
def test_a_key_that_cannot_be_used_is_told_before_anything_starts(tmp_path, options, says):
    (tmp_path / "open").write_text("00" * 32)
    (tmp_path / "open").chmod(0o644)
    done = processes.run(
        "record", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", *options, cwd=tmp_path
    )
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "sessiontape.db").exists()
