"""The collector as a process of its own, over loopback."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.core.exchange import Outcome
from proxy_addon.demo.player import CLIP, body_of, timed
from tests import forking, processes, sdk_traffic
from tests.builders import BEGIN, BEGIN_MS, SESSION_ID, START_PARAMS, body, event, event_dict, response, start, unjudged

COMMAND = Path(sys.executable).with_name("sessiontape")
TIMEOUT_S = 30
START = body(event_dict("sessionStart"))
PING = body(event_dict("ping"))
END = body(event_dict("sessionEnd"))
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "OPTIONS,POST,PUT",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Expose-Headers": "Location",
}


@dataclass
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Collector:
    """A running collector."""

    process: forking.Popen
    ready: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.ready.rpartition(":")[2])

    def ask(self, method: str, path: str, sent: bytes | None = None, headers: dict[str, str] | None = None) -> Answered:
        """Send one request on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)) as connection:
            connection.request(method, path, sent, headers or {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return Answered(answer.status, dict(answer.getheaders()), answer.read())

    def open(self) -> str:
        """Open a session; return the path of its events."""
        answer = self.ask("POST", "/api/v1/sessions", START)
        assert answer.status == 201
        return f"{answer.headers['Location']}/events"

    def raw(self, sent: bytes) -> bytes:
        """Send bytes and return all that comes back until the collector closes the connection."""
        with self.connect() as connection:
            connection.sendall(sent)
            return read_to_end(connection)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)

    def logged(self, count: int) -> list[dict[str, Any]]:
        """Return the log once it has so many lines."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            lines = [line for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
            if len(lines) >= count or time.monotonic() > deadline:
                assert len(lines) == count
                return [json.loads(line) for line in lines]
            select.select([], [], [], 0.01)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, float]:
        """Stop it; return exit code, what else it said on stderr, and the seconds that took."""
        began = time.monotonic()
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        assert out == ""
        return self.process.wait(), err, time.monotonic() - began


Starter = Callable[..., Collector]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Starter]:
    """Starts collectors on free ports; each must end well, and without a word, if the test did not end it."""
    running: list[Collector] = []

    def begin(*options: str) -> Collector:
        log = tmp_path / f"log{len(running)}.jsonl"
        command = [str(COMMAND), "collector", "--listen", "127.0.0.1:0", "--log", str(log), *options]
        process = forking.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], TIMEOUT_S)
        begun = Collector(process, process.stdout.readline().strip() if readable else "", log)
        running.append(begun)
        return begun

    yield begin
    for begun in running:
        if begun.process.poll() is None:
            code, err, _ = begun.stop()
            assert (code, err) == (0, "")


def refused(*options: str, cwd: Path) -> str:
    """Run a collector that cannot start; return what it says."""
    command = [str(COMMAND), "collector", "--listen", "127.0.0.1:0", *options]
    done = forking.run(command, text=True, timeout=TIMEOUT_S, cwd=cwd)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return str(done.stderr)


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def post(path: str, sent: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: collector", f"Content-Length: {len(sent)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + sent


def test_the_settings_decide_which_bodies_are_refused(collector, tmp_path):
    own = body(event_dict("sessionStart", params={**START_PARAMS, "media.customKey": "x"}))
    typo = body(event_dict("sessionStart", params={**START_PARAMS, "media.cutsomKey": "x"}))
    missing = body(event_dict("sessionStart", params={k: v for k, v in START_PARAMS.items() if k != "media.channel"}))
    by_default = collector()
    assert [by_default.ask("POST", "/api/v1/sessions", each).status for each in (own, typo, missing)] == [400, 400, 400]
    (tmp_path / "sessiontape.toml").write_text(
        '[[params]]\nkey = "media.customKey"\ntype = "string"\n'
        '[rules.param-missing]\nseverity = "off"\nreason = "our players have no channel"\n'
    )
    (tmp_path / "none.toml").write_text("")
    found = collector()
    assert [found.ask("POST", "/api/v1/sessions", each).status for each in (own, typo, missing)] == [201, 400, 201]
    named = collector("--config", "none.toml")
    assert [named.ask("POST", "/api/v1/sessions", each).status for each in (own, typo, missing)] == [400, 400, 400]
    assert "nothing.toml" in refused("--config", "nothing.toml", cwd=tmp_path)


def test_it_says_where_it_listens_and_answers_there(collector):
    running = collector()

    assert re.fullmatch(r"listening on http://127\.0\.0\.1:[1-9][0-9]*", running.ready)
    first, second = running.open(), running.open()
    assert re.fullmatch(r"/api/v1/sessions/[0-9a-f]{64}/events", first)
    assert first != second


def test_the_wire_has_the_documented_headers(collector):
    running = collector()
    created = running.ask("POST", "/tv/api/v1/sessions", START)
    taken = running.ask("POST", f"{created.headers['Location']}/events", PING)
    unknown = running.ask("POST", "/api/v1/sessions/nobody/events", PING)
    preflight = running.ask("OPTIONS", "/api/v1/sessions")

    assert [answer.status for answer in (created, taken, unknown, preflight)] == [201, 204, 404, 204]
    assert created.headers["Content-Type"] == "application/octet-stream"
    assert created.headers["Content-Length"] == "0"
    assert created.headers["Location"].startswith("/api/v1/sessions/")
    assert json.loads(unknown.body) == {"message": "session nobody is unknown"}
    for answer in (created, taken, unknown, preflight):
        assert answer.headers.items() >= CORS.items()


def test_the_javascript_sdk_gets_the_answers_it_got_from_the_real_thing(collector):
    running = collector()
    new_ids: dict[int, str] = {}
    statuses = []
    requests = sdk_traffic.load()
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=TIMEOUT_S)) as connection:
        for sent in requests:
            path = sent.with_session_id(new_ids[sent.playback]).path if sent.session_id else sent.path
            connection.putrequest(sent.method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.headers:
                connection.putheader(name, value)
            connection.endheaders(sent.body)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
            if sent.opens:
                new_ids[sent.playback] = str(answer.getheader("Location")).rpartition("/")[2]

    assert all(status == 204 for status, sent in zip(statuses, requests, strict=True) if sent.method == "OPTIONS")
    posted = [(status, sent.status) for status, sent in zip(statuses, requests, strict=True) if sent.method == "POST"]
    assert posted == [(recorded, recorded) for _, recorded in posted]
    logged = running.logged(len(requests))
    assert [hashlib.sha256(sent.body).hexdigest() for sent in requests] == [line["body_sha256"] for line in logged]
    assert [[list(pair) for pair in sent.headers] for sent in requests] == [line["headers"] for line in logged]


def test_the_log_has_each_request_as_it_was_on_the_wire(collector):
    running = collector()
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    running.raw(post("/t%c3%a9/api/v1/sessions?x=%20", START, "X-ODD:  \xe9 ", "x-odd: 2", "Connection: close"))
    running.ask("POST", "/api/v1/sessions/nobody/events", b"\xff")
    opened, unknown = running.logged(2)

    assert opened["path"] == "/t%c3%a9/api/v1/sessions?x=%20"
    assert (opened["method"], opened["http_version"]) == ("POST", "HTTP/1.1")
    assert ["X-ODD", "\xe9"] in opened["headers"]
    assert opened["headers"][-3:-1] == [["X-ODD", "\xe9"], ["x-odd", "2"]]
    assert (opened["operation"], opened["event_type"], opened["status"]) == ("sessions", "sessionStart", 201)
    assert re.fullmatch("[0-9a-f]{64}", opened["session_id"])
    assert opened["body"] == {"text": START.decode()}
    assert before <= datetime.fromisoformat(opened["received_at"]) <= datetime.now(UTC)
    assert unknown["monotonic_s"] > opened["monotonic_s"]
    assert (unknown["session_id"], unknown["status"], unknown["body"]) == ("nobody", 404, {"base64": "/w=="})


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
def test_a_compressed_body_is_refused_and_logged_as_it_was_on_the_wire(collector, encoding):
    running = collector()
    sent = gzip.compress(START)
    answer = running.ask("POST", "/api/v1/sessions", sent, {"Content-Encoding": encoding})

    assert answer.status == 400
    assert "not JSON" in json.loads(answer.body)["message"]
    (line,) = running.logged(1)
    assert line["body_sha256"] == hashlib.sha256(sent).hexdigest()


def test_escaped_half_pairs_and_nuls_go_through(collector):
    running = collector()
    sent = START.replace(b"A film", rb"A \ud83c film \u0000 \u2028")

    assert running.ask("POST", "/api/v1/sessions", sent).status == 201
    odd_type = running.ask("POST", "/api/v1/sessions", rb'{"eventType": "\ud83c"}')
    assert odd_type.status == 400
    assert running.logged(2)[1]["event_type"] == "\ud83c"


def test_a_batch_of_megabytes_is_taken(collector):
    running = collector()
    batch = body([event_dict("sessionStart")] + [event_dict("ping", customMetadata={"note": "x" * 1000})] * 4000)

    assert len(batch) > 4_000_000
    answer = running.ask("POST", "/api/v1/downloaded", batch, {"Expect": "100-continue"})
    assert answer.status == 201
    assert "Location" not in answer.headers


def test_a_client_that_expects_100_continue_gets_it(collector):
    running = collector()
    head, _, sent = post("/api/v1/sessions", START, "Expect: 100-continue", "Connection: close").partition(b"\r\n\r\n")
    with running.connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(sent)
        assert read_to_end(connection).startswith(b"HTTP/1.1 201 Created\r\n")


def test_a_body_beyond_the_limit_is_too_large(collector):
    running = collector()
    with running.connect() as connection:
        connection.sendall(b"POST /api/v1/downloaded HTTP/1.1\r\nHost: x\r\nContent-Length: 67108865\r\n\r\n")
        connection.settimeout(TIMEOUT_S)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    (line,) = running.logged(1)
    assert (line["status"], line["complete"]) == (413, False)


def test_a_chunked_body_is_one_body(collector):
    running = collector()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (START[:10], START[10:])) + b"0\r\n\r\n"
    head = b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"

    assert running.raw(head + chunks).startswith(b"HTTP/1.1 201 ")
    assert running.logged(1)[0]["body"] == {"text": START.decode()}


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nxx\r\n",
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST /api/v1/sessions HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"POST http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_bytes_that_are_no_http_do_no_harm_and_make_no_noise(collector, sent):
    running = collector()
    with running.connect() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = read_to_end(connection)

    assert received == b"" or re.match(rb"HTTP/1\.[01] (400|404|413|431) ", received)
    running.open()
    code, err, _ = running.stop()
    assert (code, err) == (0, "")


def test_malformed_http_is_answered_like_any_other_mistake(collector):
    running = collector()
    received = running.raw(b"POST /api/v1/sessions HTTP/1.1\r\nContent-Length: abc\r\n\r\n")
    head, _, sent = received.partition(b"\r\n\r\n")

    assert re.match(rb"HTTP/1\.[01] 400 ", head)
    assert b"Access-Control-Allow-Origin: *" in head
    assert json.loads(sent)["message"].startswith("this is not HTTP: ")


def test_a_client_that_leaves_in_the_middle_of_its_body_is_logged_as_such(collector):
    running = collector()
    with running.connect() as connection:
        connection.sendall(post("/api/v1/sessions", START)[:-10])
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == b""
    (line,) = running.logged(1)

    assert (line["status"], line["complete"], line["session_id"]) == (None, False, None)
    assert line["body"] == {"text": START[:-10].decode()}


def test_a_status_fault_answers_in_place_of_the_back_end(collector):
    running = collector("--fault", "sessions:status=503:first=2")
    statuses = [running.ask("POST", "/api/v1/sessions", START).status for _ in range(3)]

    assert statuses == [503, 503, 201]
    assert [line["fault"] for line in running.logged(3)] == ["sessions:status=503:first=2"] * 2 + [None]
    assert [line["session_id"] is None for line in running.logged(3)] == [True, True, False]


def test_a_delayed_answer_is_the_usual_one_later(collector):
    running = collector("--fault", "events:delay=0.4:nth=2")
    path = running.open()
    assert running.ask("POST", path, PING).status == 204
    between = time.monotonic()
    assert running.ask("POST", path, PING).status == 204

    assert time.monotonic() - between >= 0.4
    assert [line["fault"] for line in running.logged(3)] == [None, None, "events:delay=0.4:nth=2"]


def test_a_delay_holds_up_nobody_else(collector):
    running = collector("--fault", "events:delay=60")
    path = running.open()
    with running.connect() as waiting:
        waiting.sendall(post(path, PING))
        running.logged(2)
        assert running.open()


def test_a_dropped_request_was_read_and_gets_no_answer(collector):
    running = collector("--fault", "events:drop:nth=1")
    path = running.open()

    assert running.raw(post(path, END)) == b""
    assert running.ask("POST", path, PING).status == 204  # the end that was dropped closed nothing
    dropped = running.logged(3)[1]
    assert (dropped["status"], dropped["fault"], dropped["body"]) == (None, "events:drop:nth=1", {"text": END.decode()})


@pytest.mark.parametrize("where", ["sessions", "events", "schemas"])
def test_a_cut_answer_ends_in_the_middle_of_its_body(collector, where):
    running = collector("--fault", f"{where}:cut")
    path = {"sessions": "/api/v1/sessions", "events": "/api/v1/sessions/x/events", "schemas": "/api/v1/schemas/play"}
    sent = START if where == "sessions" else b""
    method = b"GET" if where == "schemas" else b"POST"
    received = running.raw(post(path[where], sent).replace(b"POST", method, 1))
    head, _, half = received.partition(b"\r\n\r\n")
    announced = re.search(rb"\r\nContent-Length: ([0-9]+)", head)

    assert head.startswith(
        {"sessions": b"HTTP/1.1 201 ", "events": b"HTTP/1.1 404 ", "schemas": b"HTTP/1.1 200 "}[where]
    )
    assert announced is not None
    assert 0 < len(half) < int(announced[1])
    assert len(half) == int(announced[1]) // 2


def test_a_cut_204_becomes_a_200_for_it_to_have_a_body(collector):
    running = collector("--fault", "events:cut")
    path = running.open()
    with pytest.raises(http.client.IncompleteRead):
        running.ask("POST", path, PING)

    assert running.logged(2)[1]["status"] == 200


def test_a_hanging_request_is_not_answered_and_ends_with_the_collector(collector):
    running = collector("--fault", "events:hang", "--fault", "schemas:delay=60")
    path = running.open()
    with (
        running.connect() as hanging,
        running.connect() as delayed,
        running.connect() as idle,
        running.connect() as slow,
    ):
        hanging.sendall(post(path, PING))
        delayed.sendall(b"GET /api/v1/schemas/play HTTP/1.1\r\nHost: x\r\n\r\n")
        slow.sendall(post(path, PING)[:-5])
        lines = running.logged(3)
        assert [(line["status"], line["fault"]) for line in lines[1:]] == [
            (None, "events:hang"),
            (200, "schemas:delay=60"),
        ]
        assert select.select([hanging], [], [], 0.2)[0] == []
        code, err, took_s = running.stop()
        assert (code, err) == (0, "")
        assert took_s < 2
        assert [read_to_end(connection) for connection in (hanging, delayed, idle)] == [b"", b"", b""]


def test_clients_that_leave_make_no_noise(collector):
    running = collector("--fault", "events:hang", "--fault", "schemas:delay=0.2")
    path = running.open()
    for sent in (post(path, PING), b"GET /api/v1/schemas/play HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /ap", b""):
        with running.connect() as leaving:
            leaving.sendall(sent)
            # A reset, not a polite end.
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert running.open()
    code, err, _ = running.stop()
    assert (code, err) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(collector, number):
    running = collector()
    code, err, took_s = running.stop(number)

    assert (code, err) == (0, "")
    assert took_s < 2


def test_a_port_in_use_is_said(collector, tmp_path):
    said = refused("--listen", f"127.0.0.1:{collector().port}", cwd=tmp_path)

    assert re.search(r"cannot listen on 127\.0\.0\.1:[0-9]+: Address already in use", said)
    assert "--listen" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--fault", "events:explode"), "fault 'events:explode': unknown action 'explode'"),
        (("--log", "nowhere/log.jsonl"), "cannot write the log nowhere/log.jsonl: No such file or directory"),
        (("--cert", "nowhere.pem"), "cannot use the certificate nowhere.pem: No such file or directory"),
        (("--from", "x"), "there is no store at sqlite:///sessiontape.db"),
        (("--listen", "nowhere.invalid:0"), "cannot listen on nowhere.invalid:0"),
        (("--listen", "http://x:1"), "is not an address to listen on: write HOST:PORT"),
        (("--listen", "999.9.9.9:0"), "cannot listen on 999.9.9.9:0: "),
    ],
)
def test_options_that_cannot_work_exit_with_2(tmp_path, options, says):
    assert says in refused(*options, cwd=tmp_path)


def test_a_file_that_is_no_certificate_is_said(tmp_path):
    (tmp_path / "cert.pem").write_text("no certificate")

    assert "cannot use the certificate cert.pem" in refused("--cert", "cert.pem", cwd=tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_log_that_cannot_be_written_any_more_ends_it(collector):
    running = collector("--log", "/dev/full")
    with running.connect() as connection:
        connection.sendall(post("/api/v1/sessions", START))
        _, err = running.process.communicate(timeout=TIMEOUT_S)

    assert running.process.returncode == 2
    assert "cannot write the log /dev/full: No space left on device" in err
    assert "Traceback" not in err


def test_options_can_come_from_the_environment(collector, monkeypatch):
    monkeypatch.setenv("SESSIONTAPE_COLLECTOR_FAULT", "sessions:status=500 events:status=503")
    running = collector()

    assert running.ask("POST", "/api/v1/sessions", START).status == 500
    assert running.ask("POST", "/api/v1/sessions/x/events", PING).status == 503


def test_it_serves_https_with_a_certificate(collector, tmp_path):
    certificate = tmp_path / "cert.pem"
    certificate.write_bytes(self_signed())
    running = collector("--cert", str(certificate))
    trust = ssl.create_default_context(cafile=str(certificate))

    assert running.ready.startswith("listening on https://127.0.0.1:")
    with closing(
        http.client.HTTPSConnection("127.0.0.1", running.port, timeout=TIMEOUT_S, context=trust)
    ) as connection:
        connection.request("POST", "/api/v1/sessions", START)
        assert connection.getresponse().status == 201
    with pytest.raises(ssl.SSLError), closing(running.connect()) as plain:
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    assert running.raw(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/") is False


def self_signed() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_it_answers_as_recorded_and_then_by_itself(collector, store):
    from storage import saving

    headers = (("Content-Type", "application/json"), ("X-Recorded", "\xc3\xa9"), ("Transfer-Encoding", "chunked"))
    said = f'{{"message":"no {SESSION_ID}"}}'.encode()
    run = saving.RecordingRun(id="run", name="test", started_at=BEGIN, version="0")
    with store.write() as db:
        saving.save(
            db,
            run,
            unjudged(
                [
                    start(id="x0", ts=BEGIN_MS, response=response(503, headers=(("Retry-After", "1"),), body=b"later")),
                    start(id="x1", ts=BEGIN_MS, after_s=5),
                    event("play", id="x2", after_s=6),
                    event("ping", id="x3", after_s=7, response=response(500, headers=headers, body=said)),
                    event("ping", id="x4", after_s=8, response=None, outcome=Outcome.UPSTREAM_CLOSED),
                    event("ping", id="x5", after_s=9, response=None, outcome=Outcome.UPSTREAM_TIMEOUT),
                ]
            ),
        )
    running = collector("--store", store.url, "--from", SESSION_ID[:12], "--fault", "play:status=502")

    refused = running.ask("POST", "/api/v1/sessions", START)
    assert (refused.status, refused.body) == (503, b"later")
    assert refused.headers.keys() == {"Retry-After", "Content-Length", "Date"}
    path = running.open()
    id = path.split("/")[-2]
    assert id != SESSION_ID
    assert running.ask("POST", path, body(event_dict("play"))).status == 502
    failed = running.ask("POST", path, PING)
    assert (failed.status, failed.body) == (500, said.replace(SESSION_ID.encode(), id.encode()))
    assert failed.headers["X-Recorded"] == "\xc3\xa9"
    assert "Access-Control-Allow-Origin" not in failed.headers
    assert running.raw(post(path, PING)) == b""
    with running.connect() as waiting:
        waiting.sendall(post(path, PING))
        hanging = running.logged(6)[-1]
        assert select.select([waiting], [], [], 0.2)[0] == []
    assert [hanging[name] for name in ("status", "fault", "session_id", "complete")] == [None, None, id, True]
    assert running.ask("POST", path, PING).status == 204
    code, err, _ = running.stop()
    missing = "ping 4 is not in the recording, which has 3: answered by the protocol"
    assert (code, err) == (0, f"sessiontape: {missing}\n")


def test_players_get_what_the_recorded_player_got_at_the_same_events(tmp_path):
    """Played over raw HTTP and by the sample player, which gives up at the first refusal."""
    faults = ("bufferStart:status=500", "pauseStart:status=404", "play:gone:nth=4", "adStart:delay=2")
    store_url = f"sqlite:///{tmp_path}/tape.db"
    with (
        processes.collector(tmp_path, *(option for fault in faults for option in ("--fault", fault))) as production,
        processes.recorder(tmp_path, production.url, store_url) as proxy,
    ):
        recorded = played(proxy.port)
        given_up = sample_player(proxy.url)
    sessions = processes.printed("sessions", "--store", store_url)
    assert [(each["events"], each["state"]) for each in sessions] == [(10, "open"), (15, "ended")]

    options = ("--store", store_url, "--from")
    with processes.collector(tmp_path, *options, sessions[1]["id"], name="again") as again, ThreadPoolExecutor() as two:
        at_once = list(two.map(played, [again.port] * 2))
    with processes.collector(tmp_path, *options, sessions[0]["id"], "--speed", "max", name="max") as again:
        gives_up = sample_player(again.url)
        fast = played(again.port)

    statuses = [201, *[204] * 8, 404, 204, 500, 410, 410, 410]
    assert [each.status for each in recorded] == statuses
    messages = [b"fault pauseStart:status=404", b"fault bufferStart:status=500"]
    for player in at_once:
        assert [each.status for each in player] == statuses
        assert [json.loads(each.body)["message"].encode() for each in player if each.status in (404, 500)] == messages
        assert json.loads(player[-1].body) == {"message": f"session {player[-1].session_id} is closed"}
        assert player[2].took_s >= 2
    ids = {player[0].session_id for player in (recorded, *at_once, fast)}
    assert len(ids) == 4
    assert fast[2].took_s < 2
    assert given_up[0] == gives_up[0] == 1
    assert "pauseStart" in given_up[1]
    assert given_up[1].replace(proxy.url, "") == gives_up[1].replace(again.url, "")


@dataclass
class Step:
    status: int
    body: bytes
    session_id: str
    took_s: float


def played(port: int) -> list[Step]:
    """Report the sample clip over raw HTTP as fast as it is answered, whatever the answers are."""
    path, steps = "/api/v1/sessions", []
    for cue, ts_ms in timed(CLIP, BEGIN_MS, 1):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as connection:
            began = time.monotonic()
            connection.request("POST", path, body_of(cue, ts_ms))
            answer = connection.getresponse()
            said = answer.read()
            took_s = time.monotonic() - began
        path = f"{answer.headers['Location']}/events" if answer.status == 201 else path
        steps.append(Step(answer.status, said, path.split("/")[-2], took_s))
    return steps


def sample_player(url: str) -> tuple[int, str]:
    """Run the sample player; return its exit code and what it says when it gives up."""
    command = [sys.executable, "-m", "proxy_addon.demo.player", url, "--speed", "100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    return done.returncode, done.stderr


def test_a_session_that_is_not_there_is_said(store, tmp_path):
    assert "no session matches 'nobody'" in refused("--store", store.url, "--from", "nobody", cwd=tmp_path)


def test_help_does_without_the_http_library():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(COMMAND), "collector", "--help"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    )

    assert "--fault WHERE:ACTION[:WHEN]" in done.stdout
    assert "aiohttp" not in done.stderr
    assert "sqlalchemy" not in done.stderr
