"""Replays as a process of its own, over loopback: what leaves it, where it goes, and what its ledger says."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import html
import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.core.exchange import Exchange, Headers, Request, Response
from proxy_addon.process import recorders
from storage import saving
from storage.engine import Store
from storage.sqlite import BUSY_TIMEOUT_S
from tests import builders, forking, processes, sdk_traffic, stores
from tests.builders import BEGIN, SESSION_ID, unjudged
from tests.integration.test_collector import self_signed
from tests.processes import COMMAND, collector

UPSTREAM = "https://collection.example"
TIMEOUT_S = 60
MAX = ("--speed", "max")
_HOP_BY_HOP = {"host", "connection", "content-length"}


class Server:
    """An HTTP server that keeps what it is asked. ``answer`` gets the number of a request, from 1, and its path."""

    def __init__(
        self,
        answer: Callable[[int, str], bytes | None] | None = None,
        *,
        listener: socket.socket | None = None,
        idle_s: float = TIMEOUT_S,
    ) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self.connections = 0
        self._answer = answer or answer_well
        self._idle_s = idle_s
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self) -> None:
        self.stop_listening()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while len(self.requests) < count:
            assert time.monotonic() < deadline, f"{len(self.requests)} of {count} requests came"
            time.sleep(0.005)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(self._idle_s)
        with connection, contextlib.suppress(OSError):
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    byte = connection.recv(1)
                    if not byte:
                        return
                    head += byte
                length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
                body = b""
                while length and len(body) < int(length[1]):
                    body += connection.recv(65536)
                path = head.split(b" ", 2)[1].decode("latin-1")
                with self._lock:
                    self.requests.append((path, head + body))
                    number = len(self.requests)
                answer = self._answer(number, path)
                if answer is None:
                    return
                connection.sendall(answer)


def answer_well(number: int, path: str) -> bytes:
    if "/events" in path:
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    return f"HTTP/1.1 201 Created\r\nLocation: /api/v1/sessions/new-{number}\r\nContent-Length: 0\r\n\r\n".encode()


Starter = Callable[..., Server]


@pytest.fixture
def server() -> Iterator[Starter]:
    running: list[Server] = []

    def begin(*arguments: Any, **options: Any) -> Server:
        running.append(Server(*arguments, **options))
        return running[-1]

    yield begin
    for each in running:
        each.close()


def sdk_exchanges(upstream: str = UPSTREAM) -> list[Exchange]:
    """Return the traffic of the SDK with the answers it got."""
    requests = sdk_traffic.load()
    ids = {sent.playback: sent.session_id for sent in requests if sent.session_id}
    exchanges = []
    for number, sent in enumerate(requests):
        headers: Headers = (("Location", f"/api/v1/sessions/{ids[sent.playback]}"),) if sent.opens else ()
        exchanges.append(
            Exchange(
                id=f"x{number}",
                upstream=upstream,
                received_at=BEGIN + timedelta(seconds=sent.at_s),
                request=Request(method=sent.method, path=sent.path, headers=sent.headers, body=sent.body),
                duration_us=1000,
                response=Response(status=sent.status, headers=headers),
            )
        )
    return exchanges


def save(store: Store, exchanges: Iterable[Exchange]) -> None:
    run = saving.RecordingRun(id="run", name="test", started_at=BEGIN, version="0")
    with store.write() as db:
        saving.save(db, run, unjudged(list(exchanges)))


def fill(url: str, exchanges: Iterable[Exchange]) -> str:
    with contextlib.closing(Store(url)) as store:
        stores.upgrade(store)
        save(store, exchanges)
    return url


@pytest.fixture
def tape(sqlite_url: str) -> str:
    """The URL of a store with the two playbacks of the SDK."""
    return fill(sqlite_url, sdk_exchanges())


def playback(*offsets_s: float, session_id: str = SESSION_ID, **overrides: Any) -> list[Exchange]:
    """Return a session with a ``ping`` at each offset."""
    return [
        builders.start(id=f"{session_id[:4]}-0", session_id=session_id, **overrides),
        *(
            builders.event("ping", id=f"{session_id[:4]}-{n}", session_id=session_id, after_s=offset_s, **overrides)
            for n, offset_s in enumerate(offsets_s, 1)
        ),
    ]


def arguments(tape: str, target: str, *options: str) -> list[str]:
    named = () if any(not option.startswith("-") for option in options[:1]) else ("--all",)
    return ["replay", *options, *named, "--store", tape, "--target", target]


def replayed(tape: str, target: str, *options: str, code: int = 0) -> dict[str, Any]:
    """Replay, check that the ledger balances, and return the document."""
    document: dict[str, Any] = processes.printed(*arguments(tape, target, *options), code=code)
    assert_balanced(document)
    return document


def refused(tape: str, target: str, *options: str) -> str:
    """Replay to a target that is refused or unreachable; return the message."""
    done = processes.run(*arguments(tape, target, *options))
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def assert_balanced(document: dict[str, Any]) -> None:
    totals = document["totals"]
    outcomes = [step["outcome"] for session in document["sessions"] for step in session["steps"]]
    assert totals["recorded"] == len(outcomes) == totals["sent"] + totals["skipped"]
    assert totals["sent"] == totals["same"] + totals["different"] + totals["failed"]
    for name in ("same", "different", "failed", "skipped"):
        assert totals[name] == outcomes.count(name)
    for session in document["sessions"]:
        assert [step["seq"] for step in session["steps"]] == list(range(1, len(session["steps"]) + 1))
        for step in session["steps"]:
            killed = (step["reason"] or "").startswith("the run was killed")  # nobody knows when, or whether
            assert killed or (step["sent_at"] is None) == (step["outcome"] == "skipped")
            assert step["reason"] or step["outcome"] in ("same", "different")


def ts_of(body: str | bytes) -> int:
    ts: int = json.loads(body)["playerTime"]["ts"]
    return ts


def when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def closed_port() -> Iterator[int]:
    with socket.socket() as taken:  # bound but not listening: nobody else gets the port meanwhile
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


nothing_listens = pytest.fixture(closed_port)


class TestWhatIsSent:
    @pytest.mark.every_version
    def test_every_event_arrives_under_the_new_id_in_recorded_order(self, store_url, tmp_path):
        fill(store_url, sdk_exchanges())
        with collector(tmp_path) as target:
            document = replayed(store_url, target.url, *MAX)
            received = target.received()

        requests = [sent for sent in sdk_traffic.load() if sent.method == "POST"]
        assert document["target"] == target.url
        assert (document["speed"], document["timestamps"]) == ("max", "now")
        assert {name: document["totals"][name] for name in ("sent", "same")} == {"sent": 28, "same": 28}
        assert [session["verdict"] for session in document["sessions"]] == ["same", "same"]
        for index, session in enumerate(document["sessions"]):
            recorded = [sent for sent in requests if sent.playback == index]
            got = [line for line in received if line["session_id"] == session["new_session_id"]]
            assert session["session_id"] == recorded[-1].session_id != session["new_session_id"]
            assert [line["path"] for line in got] == [
                sent.with_session_id(session["new_session_id"]).path for sent in recorded
            ]
            before, after = (
                [ts_of(sent.body) for sent in recorded],
                [ts_of(line["body"]["text"]) for line in got],
            )
            assert [ts - before[0] for ts in before] == [ts - after[0] for ts in after]
            assert after[0] == round(when(session["steps"][0]["sent_at"]).timestamp() * 1000)
            for sent, line in zip(recorded, got, strict=True):
                shifted = sent.body.replace(str(ts_of(sent.body)).encode(), str(ts_of(line["body"]["text"])).encode())
                assert line["body"]["text"].encode() == shifted
            skipped = [step["reason"] for step in session["steps"] if step["outcome"] == "skipped"]
            assert skipped
            assert set(skipped) == {"preflight: browsers make their own"}
        assert len(received) == 28
        run = processes.printed("runs", document["id"][:8], "--store", store_url)
        assert run == document

    def test_headers_go_out_as_recorded_and_no_others(self, tape, tmp_path):
        with collector(tmp_path) as target:
            replayed(tape, target.url, *MAX, "--concurrency", "1")
            received = target.received()
            port = target.port

        requests = [sent for sent in sdk_traffic.load() if sent.method == "POST"]
        for sent, line in zip(requests, received, strict=True):
            kept = [[name, value] for name, value in sent.headers if name.lower() not in _HOP_BY_HOP]
            length = str(len(line["body"]["text"].encode()))
            assert line["headers"] == [["Host", f"127.0.0.1:{port}"], *kept, ["Content-Length", length]]

    def test_every_byte_of_a_head_goes_out_as_it_was(self, sqlite_url, server):
        headers: Headers = (("X-b", "1"), ("a", "2"), ("X-B", "\xe9\xff"), ("Cookie", "a=b"), ("X-b", "3"))
        exchanges = [
            builders.start(id="x1", headers=headers),
            builders.exchange(
                "POST",
                f"/api/v1/sessions/{SESSION_ID}/events?q=%zz&\xe9=//../#x",
                id="x2",
                after_s=1,
                headers=headers,
                body=builders.body(builders.event_dict("play")),
            ),
        ]
        target = server()
        replayed(fill(sqlite_url, exchanges), f"{target.url}/tv", *MAX, "--timestamps", "keep")

        paths = ("/tv/api/v1/sessions", "/tv/api/v1/sessions/new-1/events?q=%zz&\xe9=//../#x")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        for (_, got), exchange, path in zip(target.requests, exchanges, paths, strict=True):
            body = exchange.request.body
            head = (
                f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
            )
            assert got == head.encode("latin-1") + body

    def test_keep_sends_the_recorded_bytes(self, tape, tmp_path):
        with collector(tmp_path) as target:
            replayed(tape, target.url, *MAX, "--timestamps", "keep", "--concurrency", "1")
            received = target.received()

        sent = [hashlib.sha256(sent.body).hexdigest() for sent in sdk_traffic.load() if sent.method == "POST"]
        assert [line["body_sha256"] for line in received] == sent

    def test_shift_moves_all_times_by_the_same(self, tape, tmp_path):
        with collector(tmp_path) as target:
            replayed(tape, target.url, *MAX, "--timestamps", "shift:-3600.5", "--concurrency", "1")
            received = target.received()

        sent = [ts_of(sent.body) - 3_600_500 for sent in sdk_traffic.load() if sent.method == "POST"]
        assert [ts_of(line["body"]["text"]) for line in received] == sent

    def test_a_body_that_cannot_be_shifted_is_sent_as_it_is_and_reported(self, sqlite_url, server):
        compressed = gzip.compress(builders.body(builders.event_dict("play")))
        headers: Headers = (("Content-Encoding", "gzip"), ("Content-Type", "application/json"))
        tape = fill(sqlite_url, [builders.start(id="x1"), builders.event(id="x2", body=compressed, headers=headers)])
        target = server()
        document = replayed(tape, target.url, *MAX)
        shown = processes.run(*arguments(tape, target.url, *MAX)).stdout

        assert target.requests[1][1].endswith(b"\r\n\r\n" + compressed)
        assert [step["outcome"] for step in document["sessions"][0]["steps"]] == ["same", "same"]
        assert document["sessions"][0]["steps"][0]["reason"] is None
        assert "sent with its recorded times" in document["sessions"][0]["steps"][1]["reason"]
        assert re.search(r"1 step sent with its recorded times", shown)


class TestWhen:
    def test_each_step_is_sent_at_its_recorded_offset_over_the_speed(self, tape, tmp_path):
        speed = 25
        with collector(tmp_path) as target:
            document = replayed(tape, target.url, "--speed", str(speed))

        for index, session in enumerate(document["sessions"]):
            recorded = [sent for sent in sdk_traffic.load() if sent.playback == index and sent.method == "POST"]
            sent_steps = [step for step in session["steps"] if step["sent_at"]]
            assert min(step["drift_ms"] for step in sent_steps) >= 0
            # How late a step is sent is a matter of the machine; when it was due is not.
            due = [when(step["sent_at"]) - timedelta(milliseconds=step["drift_ms"]) for step in sent_steps]
            due_s = [(sent.at_s - recorded[0].at_s) / speed for sent in recorded]
            assert [(at - due[0]).total_seconds() for at in due] == pytest.approx(due_s, abs=0.003)
        assert 0 <= document["drift_ms"]["p50"] <= document["drift_ms"]["p95"] <= document["drift_ms"]["max"]
        assert document["latency_ms"]["max"] > 0
        assert document["speed"] == speed

    @pytest.mark.parametrize(("concurrency", "side_by_side"), [(1, False), (2, True)])
    def test_sessions_run_side_by_side_as_far_as_allowed(self, tape, tmp_path, concurrency, side_by_side):
        with collector(tmp_path, "--fault", "any:delay=0.02") as target:
            replayed(tape, target.url, *MAX, "--concurrency", str(concurrency))
            received = target.received()

        stretches = [key for key, _ in groupby(line["session_id"] for line in received)]
        assert (len(stretches) > 2) is side_by_side
        assert len(set(stretches)) == 2


class TestComparing:
    def test_other_answers_are_differences(self, tape, tmp_path):
        with collector(tmp_path, "--fault", "events:status=500:every=3") as target:
            document = replayed(tape, target.url, *MAX, "--concurrency", "1", code=1)
            received = target.received()

        sent = [step for session in document["sessions"] for step in session["steps"] if step["sent_at"]]
        assert [step["status"] for step in sent] == [line["status"] for line in received]
        assert document["totals"]["different"] == 26 // 3
        for step in sent:
            if step["outcome"] == "different":
                assert step["differences"] == [{"where": "status", "recorded": 204, "replayed": 500}]
        assert [session["verdict"] for session in document["sessions"]] == ["different", "different"]

    def test_people_get_a_table_and_what_went_wrong(self, tape, tmp_path):
        with collector(tmp_path, "--fault", "events:status=500:nth=2") as target:
            done = processes.run(*arguments(tape, target.url, *MAX))
            listed = processes.run("runs", "--store", tape)

        assert done.returncode == 1
        assert "status: 204 -> 500" in done.stdout
        assert re.search(r"28 sent \(27 same, 1 different, 0 failed\), [1-9][0-9]* skipped", done.stdout)
        assert "\x1b" not in done.stdout
        assert done.stderr == ""
        assert target.url in listed.stdout
        assert listed.returncode == 0

    @pytest.mark.parametrize(
        ("fault", "outcome", "reason"),
        [
            ("sessions:status=500:first=1", "different", "the new start was answered 500"),
            ("sessions:drop:first=1", "failed", "the connection was closed without an answer"),
        ],
    )
    def test_without_a_new_session_its_events_are_skipped(self, tape, tmp_path, fault, outcome, reason):
        with collector(tmp_path, "--fault", fault) as target:
            document = replayed(tape, target.url, *MAX, "--concurrency", "1", code=1)
            received = target.received()

        first, second = document["sessions"]
        assert [step["outcome"] for step in first["steps"]] == [outcome, *["skipped"] * (len(first["steps"]) - 1)]
        events = [step for step in first["steps"][1:] if not step["reason"].startswith("preflight")]
        assert len(events) == 8
        assert all(reason in step["reason"] for step in events)
        assert reason in first["reason"]
        assert (first["new_session_id"], first["verdict"]) == (None, outcome)
        assert second["verdict"] == "same"
        assert len(received) == 1 + 19

    def test_a_session_is_named_and_unknown_ones_are_told(self, tape, tmp_path):
        session_id = next(sent.session_id for sent in sdk_traffic.load() if sent.session_id)
        assert session_id is not None
        with collector(tmp_path) as target:
            document = replayed(tape, target.url, session_id[:16], *MAX)
        assert [session["session_id"] for session in document["sessions"]] == [session_id]
        assert "no session matches 'nobody'" in refused(tape, target.url, "nobody")


class TestFailing:
    def test_a_row_that_nobody_can_read_is_told(self, sqlite_url, server):
        tape = fill(sqlite_url, crowd(3))
        with contextlib.closing(sqlite3.connect(tape.removeprefix("sqlite:///"))) as db:
            db.execute("UPDATE exchanges SET request_headers = '{not json' WHERE id = '1-2'")
            db.commit()
        said = processes.run(*arguments(tape, server().url, *MAX))
        assert said.returncode == 2
        assert "headers in the store cannot be read" in said.stderr
        assert "Traceback" not in said.stderr

    @pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
    def test_too_many_sessions_side_by_side_for_the_system_are_told(self, tape, server):
        target = server()
        command = shlex.join([COMMAND, *arguments(tape, target.url, "--concurrency", "500")])
        done = subprocess.run(
            ["/bin/sh", "-c", f"ulimit -n 256; exec {command}"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "500 sessions at the same time need 564 open files, but this process may have only 256" in done.stderr
        assert "--concurrency" in done.stderr
        assert target.connections == 0

    @pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
    def test_as_many_connections_as_needed_are_allowed(self, sqlite_url, server):
        tape = fill(sqlite_url, crowd(100, events=1))
        arrived = threading.Barrier(100)

        def answer(number: int, path: str) -> bytes:
            if number <= 100:
                arrived.wait(TIMEOUT_S)
            return answer_well(number, path)

        target = server(answer)
        command = shlex.join([COMMAND, *arguments(tape, target.url, *MAX, "--concurrency", "100", "--json")])
        done = subprocess.run(
            ["/bin/sh", "-c", f"ulimit -S -n 96; exec {command}"], capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout)["totals"]["same"] == 200

    def test_nothing_listening_is_told_at_once(self, tape, nothing_listens):
        target = f"http://127.0.0.1:{nothing_listens}"
        said = refused(tape, target)
        (run,) = processes.printed("runs", "--store", tape)

        assert f"no connection to {target} succeeded: cannot connect: Connection refused" in said
        assert len(said.splitlines()) == 2
        assert (run["exit_code"], run["verdict"], run["totals"]["sent"]) == (2, "skipped", 0)
        assert run["finished_at"] is not None
        document = processes.printed("runs", run["id"], "--store", tape)
        assert_balanced(document)
        assert {session["reason"] for session in document["sessions"]} == {
            "no connection to the target: cannot connect: Connection refused"
        }

    def test_a_target_that_was_unreachable_gets_everything_once_it_is_up(self, tape, server, nothing_listens):
        refused(tape, f"http://127.0.0.1:{nothing_listens}", *MAX)
        (run,) = processes.printed("runs", "--store", tape)
        target = server()
        with contextlib.closing(sqlite3.connect(tape.removeprefix("sqlite:///"))) as db:
            db.execute("UPDATE runs SET target = ?", (target.url,))  # the port is somebody else's by now
            db.commit()
        document = processes.printed("replay", "--resume", run["id"], "--store", tape)
        assert (document["totals"]["same"], document["verdict"], document["exit_code"]) == (28, "same", 0)
        assert len(target.requests) == 28

    def test_what_a_refusal_says_is_in_the_step_and_the_table(self, sqlite_url, server, tmp_path):
        def answer(number: int, path: str) -> bytes:
            said = b'{"message": "media.id \\u001b[31mmissing"}'
            refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)
            return refusal if number == 2 else answer_well(number, path)

        tape = fill(sqlite_url, playback(1, 2))
        report = tmp_path / "run.xml"
        done = processes.run(*arguments(tape, server(answer).url, *MAX, "--report", str(report)))
        assert "ping different status: 204 -> 400: the target said: media.id \\x1b[31mmissing" in done.stdout
        assert "the target said: media.id" in report.read_text()
        (run,) = processes.printed("runs", "--store", tape)
        (session,) = processes.printed("runs", run["id"], "--store", tape)["sessions"]
        reasons = [step["reason"] for step in session["steps"]]
        assert reasons == [None, "the target said: media.id \x1b[31mmissing", None]

    def test_each_of_several_differences_has_a_line_and_a_message_is_told_once(self, sqlite_url, server, tmp_path):
        def answer(number: int, path: str) -> bytes:
            refusal = b'HTTP/1.1 404 Not Found\r\nContent-Length: 26\r\n\r\n{"message": "it\\"s, gone"}'
            return refusal if number > 1 else answer_well(number, path)

        typed = (("Content-Type", "text/plain"),)
        events = [
            builders.event("ping", id="p", after_s=1, response=builders.response(204, headers=typed)),
            builders.event("ping", id="q", after_s=2, response=builders.response(404, body=b'{"message": "no"}')),
        ]
        tape = fill(sqlite_url, [builders.start(id="s"), *events])
        report = tmp_path / "run.xml"
        done = processes.run(*arguments(tape, server(answer).url, *MAX, "--report", str(report)))
        said = done.stdout.splitlines()
        first = next(number for number, line in enumerate(said) if line.endswith("#2 ping different"))
        assert said[first + 1 : first + 4] == [
            "    status: 204 -> 404",
            "    header.Content-Type: text/plain -> nothing",
            '    the target said: it"s, gone',
        ]
        assert said[first + 4].endswith('#3 ping different body/message: "no" -> "it\\"s, gone"')
        text = html.unescape(report.read_text())
        assert "status: 204 -> 404, header.Content-Type: text/plain -> nothing; the target said: " in text
        assert text.count("the target said") == 2  # in the message, and in the text below it

    def test_a_target_that_goes_away_fails_the_rest_with_the_reason(self, tape, server):
        def answer(number: int, path: str) -> bytes | None:
            if number == 10:
                target.stop_listening()
            return answer_well(number, path) if number < 10 else None

        target = server(answer)
        document = replayed(tape, target.url, *MAX, code=1)

        assert document["totals"]["same"] == 9
        assert document["totals"]["failed"] == 28 - 9
        failed = [step for session in document["sessions"] for step in session["steps"] if step["outcome"] == "failed"]
        # Those that had a connection find it closed, one that was still waiting to be accepted is reset.
        closed = "the connection was closed without an answer"
        reasons = {step["reason"].removesuffix(": [Errno 104] Connection reset by peer") for step in failed}
        assert reasons == {closed, "cannot connect: Connection refused"}
        assert {step["status"] for step in failed} == {None}
        skipped = [s for session in document["sessions"] for s in session["steps"] if s["outcome"] == "skipped"]
        assert {step["reason"] for step in skipped} == {"preflight: browsers make their own"}

    @pytest.mark.parametrize(
        ("action", "reason"),
        [
            ("hang", "no complete answer within 3 s"),
            ("drop", "the connection was closed without an answer"),
            ("cut", "the connection ended before the answer was complete"),
        ],
    )
    def test_a_request_without_an_answer_fails_alone(self, tape, tmp_path, action, reason):
        with collector(tmp_path, "--fault", f"events:{action}:nth=3") as target:
            document = replayed(tape, target.url, *MAX, "--timeout", "3", code=1)

        failed = [step for session in document["sessions"] for step in session["steps"] if step["outcome"] == "failed"]
        assert [step["reason"] for step in failed] == [reason]
        assert document["totals"]["same"] == 27

    def test_a_session_that_the_target_closes_is_shown_and_the_others_go_on(self, tape, server):
        def answer(number: int, path: str) -> bytes:
            if "/events" in path and path.split("/")[4] == "new-1" and number > 6:
                return b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
            return answer_well(number, path)

        document = replayed(tape, server(answer).url, *MAX, "--concurrency", "1", code=1)
        first, second = document["sessions"]
        assert (first["verdict"], second["verdict"]) == ("different", "same")
        odd = [step for step in first["steps"] if step["outcome"] == "different"]
        assert {step["status"] for step in odd} == {410}
        assert odd[0]["differences"] == [{"where": "status", "recorded": 204, "replayed": 410}]
        assert len(odd) == 3

    def test_a_server_that_hangs_up_on_idle_connections_gets_each_request_once(self, sqlite_url, server):
        # Steps come at the very moment at which a kept connection would be hung up on.
        tape = fill(sqlite_url, playback(*(n * 0.02 for n in range(1, 60))))
        target = server(idle_s=0.02)
        document = json.loads(processes.run(*arguments(tape, target.url), "--json").stdout)
        assert_balanced(document)

        # Where server and client act in the same instant nobody can tell whether the request was taken.
        totals = document["totals"]
        assert totals["same"] + totals["failed"] == 60
        assert totals["same"] >= 30
        assert totals["same"] <= len(target.requests) <= 60
        assert len({request for _, request in target.requests}) == len(target.requests)

    def test_a_request_that_was_taken_and_not_answered_is_not_sent_again(self, sqlite_url, server):
        def answer(number: int, path: str) -> bytes | None:
            return None if number % 3 == 0 else answer_well(number, path)

        tape = fill(sqlite_url, playback(*(n * 0.01 for n in range(1, 30))))
        target = server(answer)
        document = replayed(tape, target.url, code=1)

        assert (document["totals"]["same"], document["totals"]["failed"]) == (20, 10)
        assert len(target.requests) == 30
        assert len({request for _, request in target.requests}) == 30

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interruption_leaves_a_ledger_that_balances(self, store_url, tmp_path, number):
        fill(store_url, sdk_exchanges())
        with (
            collector(tmp_path, "--fault", "events:hang:nth=4") as target,
            forking.Popen(
                [COMMAND, *arguments(store_url, target.url, *MAX, "--concurrency", "1", "--timeout", "600", "--json")],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as process,
        ):
            deadline = time.monotonic() + TIMEOUT_S
            while len(target.received()) < 5 and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(number)
            out, err = process.communicate(timeout=TIMEOUT_S)
            received = target.received()

        document = json.loads(out)
        assert process.returncode == 128 + number
        assert "Traceback" not in err
        assert len(received) == 5
        assert_balanced(document)
        assert len(document["sessions"]) == 2
        assert document["totals"]["recorded"] == 41 - 2  # preflights of starts are in no session
        assert document["totals"]["sent"] == 5
        steps = [step for session in document["sessions"] for step in session["steps"]]
        assert [step["reason"] for step in steps if step["outcome"] == "failed"] == ["interrupted"]
        assert {step["reason"] for step in steps if step["outcome"] == "skipped"} == {
            "interrupted",
            "preflight: browsers make their own",
        }
        (listed,) = processes.printed("runs", "--store", store_url)
        assert listed["exit_code"] == 128 + number
        assert f"replay --resume {listed['id']}' sends the 1 session of which nothing was sent; the rest of 1" in err
        assert listed["totals"] == document["totals"]
        assert processes.printed("runs", listed["id"], "--store", store_url) == document


def everywhere() -> socket.socket:
    """Return a listener on all addresses of this machine."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def own_address() -> str | None:
    """Return an address of this machine that is no loopback one; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


class TestWhereItMayGo:
    def test_the_recorded_upstream_needs_to_be_allowed(self, sqlite_url, server):
        trap = server()
        tape = fill(sqlite_url, sdk_exchanges(upstream=trap.url))
        said = refused(tape, trap.url, *MAX)

        assert f"it is the upstream of recorded sessions ({trap.url})" in said
        assert f"--allow-host 127.0.0.1:{trap.port}" in said
        assert trap.connections == 0
        assert processes.printed("runs", "--store", tape) == []

        replayed(tape, trap.url, *MAX, "--allow-host", f"127.0.0.1:{trap.port}")
        assert len(trap.requests) == 28

    @pytest.mark.parametrize(
        "host",
        [
            "localhost",
            "LOCALHOST.",
            "127.0.0.2",
            "127.1",
            "2130706433",
            "0.0.0.0",
            pytest.param("[::1]", marks=pytest.mark.skipif(not has_ipv6_loopback(), reason="there is no ::1 here")),
            "[::ffff:127.0.0.1]",
        ],
    )
    def test_another_spelling_of_the_upstream_is_the_upstream(self, sqlite_url, server, host):
        trap = server(listener=everywhere())
        tape = fill(sqlite_url, playback(1, upstream=trap.url))
        said = refused(tape, f"http://{host}:{trap.port}", *MAX)

        assert "--allow-host" in said
        assert trap.connections == 0

    def test_the_upstream_of_a_session_that_is_not_replayed_counts_too(self, sqlite_url, server):
        trap = server()
        other = playback(1, session_id="0f" * 32, upstream=trap.url)
        tape = fill(sqlite_url, [*playback(1), *other])

        assert "upstream of recorded sessions" in refused(tape, trap.url, SESSION_ID)
        assert trap.connections == 0

    def test_allowing_another_host_or_port_does_not_help(self, sqlite_url, server):
        trap = server()
        tape = fill(sqlite_url, playback(1, upstream=trap.url))
        refused(tape, trap.url, "--allow-host", f"127.0.0.1:{trap.port + 1}", "--allow-host", "example.com")
        assert trap.connections == 0

    def test_a_recorder_is_judged_by_its_upstream(self, sqlite_url, server, tmp_path):
        trap, fine = server(), server()
        tape = fill(sqlite_url, sdk_exchanges(upstream=trap.url))
        with processes.recorder(tmp_path, trap.url, f"sqlite:///{tmp_path}/other.db") as first:
            said = refused(tape, first.url, *MAX)
            assert f"a recorder listens there and would pass it on to {trap.url}: it is the upstream" in said
            assert said.count("refused to replay") == said.count("nothing has been sent") == 1
            assert "which also switches --safe on: --allow-host" in said
            assert f"--allow-host 127.0.0.1:{first.port}" in said
            with processes.recorder(tmp_path, first.url, f"sqlite:///{tmp_path}/more.db") as second:
                assert f"would pass it on to {trap.url}" in refused(tape, f"http://localhost:{second.port}", *MAX)
            assert trap.requests == []
            document = replayed(tape, first.url, *MAX, "--allow-host", f"127.0.0.1:{first.port}")
            assert document["changes"][0]["option"] == "--safe"
            assert len(trap.requests) == 28
        with processes.mitmdump(tmp_path, trap.url, f"sqlite:///{tmp_path}/dump.db") as third:
            deadline = time.monotonic() + TIMEOUT_S
            while third.port not in {each.port for each in recorders.running()}:  # it listens before its addons run
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert "a recorder listens there" in refused(tape, third.url, *MAX)
        with processes.recorder(tmp_path, fine.url, f"sqlite:///{tmp_path}/fine.db") as fourth:
            replayed(tape, fourth.url, *MAX)
        assert (len(fine.requests), len(trap.requests)) == (28, 28)

    def test_a_recorder_with_another_environment_is_found_too(self, sqlite_url, server, tmp_path, monkeypatch):
        trap = server()
        tape = fill(sqlite_url, playback(1, upstream=trap.url))
        with processes.recorder(tmp_path, trap.url, f"sqlite:///{tmp_path}/other.db") as recorder:
            for name in ("TMPDIR", "XDG_RUNTIME_DIR"):  # as under cron or a service manager
                monkeypatch.setenv(name, str(tmp_path))
            assert "a recorder listens there" in refused(tape, recorder.url, *MAX)
        assert trap.requests == []

    def test_what_a_proxy_at_the_target_may_do_with_a_host_needs_to_be_allowed(self, sqlite_url, server, tmp_path):
        trap, target = server(), server()
        tape = fill(sqlite_url, playback(1, upstream=trap.url))
        store = f"sqlite:///{tmp_path}/other.db"
        command = [processes.COMMAND, "record", "--mode", "regular@127.0.0.1:0", "--store", store]
        changes = tmp_path / "changes.toml"
        changes.write_text(f'[[change]]\ndo = "set-header"\nname = "host"\nvalue = "127.0.0.1:{trap.port}"\n')
        host = ("--set-header", f"Host=127.0.0.1:{trap.port}")
        with processes.serving(command, tmp_path) as forward:
            said = refused(tape, forward.url, *MAX)
            assert "would pass it on to any server that a request names" in said
            assert f"--allow-host 127.0.0.1:{forward.port}" in said
            allowed = ("--allow-host", f"127.0.0.1:{forward.port}")
            for change in (host, ("--changes", str(changes))):
                said = refused(tape, forward.url, *MAX, *allowed, *change)
                assert f"with the header Host: 127.0.0.1:{trap.port}: it is the upstream of recorded sessions" in said
            assert trap.connections == 0
            document = replayed(tape, forward.url, *MAX, *allowed, *host, "--allow-host", f"127.0.0.1:{trap.port}")
            assert document["changes"][0]["option"] == "--safe"
            assert len(trap.requests) == 2
        said = refused(tape, target.url, *MAX, "--set-header", "Host=a.omtrdc.net")
        assert "--allow-host a.omtrdc.net:80" in said
        assert target.connections == 0

    def test_another_server_on_this_machine_is_fine(self, sqlite_url, server):
        trap, target = server(), server()
        tape = fill(sqlite_url, playback(1, upstream=trap.url))
        replayed(tape, f"http://localhost:{target.port}", *MAX)
        assert (trap.connections, len(target.requests)) == (0, 2)

    @pytest.mark.parametrize("allow", ["SESSIONTAPE_REPLAY_ALLOW_HOST", "SESSIONTAPE_REPLAY_ALLOWED"])
    def test_the_environment_allows_nothing(self, sqlite_url, server, monkeypatch, allow):
        trap = server()
        tape = fill(sqlite_url, playback(1, upstream=trap.url))
        monkeypatch.setenv(allow, "127.0.0.1")
        refused(tape, trap.url)
        assert trap.connections == 0

    def test_an_address_of_this_machine_that_is_no_loopback_one_needs_to_be_allowed(self, tape, server):
        address = own_address()
        if address is None:
            pytest.skip("this machine has no other address")
        trap = server(listener=everywhere())
        url = f"http://{address}:{trap.port}"
        said = refused(tape, url, *MAX)
        assert f"{address} is not a loopback address" in said
        assert trap.connections == 0

        replayed(tape, url, *MAX, "--allow-host", address)
        assert len(trap.requests) == 28

    @pytest.mark.parametrize("target", ["http://192.0.2.1", "https://198.51.100.7:8443/tv", "http://[2001:db8::1]"])
    def test_other_addresses_are_refused_without_a_connection(self, tape, target):
        said = refused(tape, target)
        assert "is not a loopback address; nothing has been sent" in said
        assert "--allow-host" in said
        assert processes.printed("runs", "--store", tape) == []

    @pytest.mark.parametrize("target", ["http://nowhere.invalid", "http://nowhere.invalid.:81"])
    def test_a_name_nobody_knows_is_refused(self, tape, target):
        assert "--allow-host nowhere.invalid" in refused(tape, target)

    def test_a_name_nobody_knows_cannot_be_reached_even_if_allowed(self, tape):
        said = refused(tape, "http://nowhere.invalid", "--allow-host", "nowhere.invalid")
        assert "cannot resolve nowhere.invalid" in said

    @pytest.mark.parametrize(
        "target", ["https://example.hb-api.omtrdc.net", "http://Example.OMTRDC.net.:8080", "https://edge.adobedc.net"]
    )
    def test_names_of_the_back_end_are_refused(self, tape, target):
        said = refused(tape, target)
        assert "one of Adobe's production servers" in said
        assert "--allow-host" in said

    def test_redirects_are_answers_like_others(self, tape, server):
        trap = server()

        def answer(number: int, path: str) -> bytes:
            if not path.endswith("/events") or number % 2:
                return answer_well(number, path)
            return f"HTTP/1.1 307 Elsewhere\r\nLocation: {trap.url}{path}\r\nContent-Length: 0\r\n\r\n".encode()

        target = server(answer)
        document = replayed(tape, target.url, *MAX, "--concurrency", "1", code=1)
        assert trap.connections == 0
        assert document["totals"]["different"] == 13
        assert len(target.requests) == 28

    def test_proxies_of_the_environment_are_not_used(self, tape, server, monkeypatch):
        trap, target = server(), server()
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, trap.url)
        replayed(tape, target.url, *MAX)
        assert trap.connections == 0
        assert len(target.requests) == 28

    def test_cookies_are_not_kept(self, tape, server):
        def answer(number: int, path: str) -> bytes:
            return answer_well(number, path).replace(b"\r\n", b"\r\nSet-Cookie: a=b; Path=/\r\n", 1)

        target = server(answer)
        replayed(tape, target.url, *MAX)
        assert not any(b"cookie" in request.lower() for _, request in target.requests)


class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        file = tmp_path / "cert.pem"
        file.write_bytes(self_signed())
        return file

    @pytest.mark.every_version
    def test_a_certificate_is_checked_unless_told_otherwise(self, tape, tmp_path, certificate):
        with collector(tmp_path, "--cert", str(certificate)) as target:
            url = f"https://127.0.0.1:{target.port}"
            said = refused(tape, url, *MAX)
            assert "its certificate is not trusted" in said
            assert target.received() == []
            replayed(tape, url, *MAX, "--ca", str(certificate))
            assert len(target.received()) == 28
            replayed(tape, url, *MAX, "--insecure")
            assert len(target.received()) == 56

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.1 is the only loopback address")
    def test_another_host_than_the_certificate_has_is_refused(self, tape, tmp_path, certificate):
        with collector(tmp_path, "--cert", str(certificate), "--listen", "127.0.0.2:0") as target:
            said = refused(tape, f"https://127.0.0.2:{target.port}", "--ca", str(certificate))
        assert "not trusted" in said

    def test_a_file_without_certificates_is_told(self, tape, tmp_path):
        (tmp_path / "ca.pem").write_text("nothing")
        assert "cannot use the CA file" in refused(tape, "https://127.0.0.1", "--ca", str(tmp_path / "ca.pem"))


class TestRuns:
    def test_runs_are_listed_newest_first(self, tape, server):
        target = server()
        documents = [replayed(tape, target.url, *MAX) for _ in range(2)]
        listed = processes.printed("runs", "--store", tape)

        assert [run["id"] for run in listed] == [document["id"] for document in reversed(documents)]
        for run, document in zip(reversed(listed), documents, strict=True):
            assert run == {name: value for name, value in document.items() if name != "sessions"}
        shown = processes.run("runs", documents[0]["id"], "--store", tape)
        assert "28 sent (28 same, 0 different, 0 failed)" in shown.stdout
        assert "no run matches 'nothing'" in processes.run("runs", "nothing", "--store", tape).stderr

    def test_a_store_without_runs_says_so(self, tape):
        assert processes.printed("runs", "--store", tape) == []
        assert "no replay runs yet" in processes.run("runs", "--store", tape).stderr


def killed_in_the_middle(tape: str, target: str, *options: str, when: Callable[[], bool]) -> str:
    """Begin a replay, kill it with SIGKILL when told, and return the run's id."""
    command = [COMMAND, *arguments(tape, target, *options)]
    with forking.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + TIMEOUT_S
        while not when():
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()
    (run, *_) = processes.printed("runs", "--store", tape)
    return str(run["id"])


def sent_by_session(target: Server) -> dict[str, list[str]]:
    """Events that came, by the ``media.id`` or the new ID of their session: each start has its number in it."""
    found: dict[str, list[str]] = {}
    for path, request in target.requests:
        body = json.loads(request.partition(b"\r\n\r\n")[2])
        key = body["customMetadata"]["who"]
        found.setdefault(key, []).append(f"{body['eventType']} {path.rpartition('/')[2]}")
    return found


def who_and_when(request: tuple[str, bytes]) -> tuple[str, int]:
    body = json.loads(request[1].partition(b"\r\n\r\n")[2])
    return body["customMetadata"]["who"], body["playerTime"]["ts"]


def crowd(number: int, events: int = 4) -> list[Exchange]:
    """Sessions that can be told apart by what they send."""
    exchanges = []
    for n in range(number):
        session_id = f"{n:04x}" * 16
        who = {"who": str(n)}
        start = builders.event_dict("sessionStart", ts=builders.BEGIN_MS + n, customMetadata=who)
        exchanges.append(builders.start(id=f"{n}-0", session_id=session_id, after_s=n, body=builders.body(start)))
        for k in range(1, events + 1):
            sent = builders.body(builders.event_dict("ping", ts=builders.BEGIN_MS + n + k, customMetadata=who))
            exchanges.append(builders.event(id=f"{n}-{k}", session_id=session_id, after_s=n + k * 0.01, body=sent))
    return exchanges


class TestResuming:
    def test_after_a_kill_each_session_is_sent_once_in_full_or_listed_as_incomplete(self, store_url, server):
        tape = fill(store_url, crowd(60))
        target = server()
        run = killed_in_the_middle(
            tape, target.url, *MAX, "--concurrency", "3", when=lambda: len(target.requests) >= 97
        )
        looked_at = processes.printed("runs", run, "--store", tape)
        assert looked_at["finished_at"] is None
        assert len(looked_at["sessions"]) == 60
        assert "not begun" in {session["reason"] for session in looked_at["sessions"]}

        document = json.loads(processes.run("replay", "--resume", run, "--store", tape, "--json").stdout)
        assert_balanced(document)
        assert (document["id"], len(document["sessions"])) == (run, 60)
        assert document["finished_at"] is not None
        came = sent_by_session(target)
        cut_short = []
        for n, session in enumerate(document["sessions"]):
            if session["verdict"] == "same":
                assert len(came[str(n)]) == 5
                assert len(set(came[str(n)])) == 2  # one start, and events
            else:
                cut_short.append(session)
                assert "killed" in session["reason"]
                assert len(came.get(str(n), ())) <= 5
        assert 1 <= len(cut_short) <= 3
        assert len({request for _, request in target.requests}) == len(target.requests)

        again = processes.run("replay", "--resume", run, "--store", tape)
        assert "nothing left to send" in again.stderr
        assert processes.printed("runs", run, "--store", tape)["totals"] == document["totals"]

    @pytest.mark.parametrize(("speed", "events"), [("max", 60), ("0.2", 30)])
    def test_after_a_kill_no_sent_request_counts_as_unsent(self, store_url, server, speed, events):
        tape = fill(store_url, crowd(6, events))
        target = server()
        how = ("--speed", speed, "--timestamps", "keep", "--concurrency", "4")
        run = killed_in_the_middle(tape, target.url, *how, when=lambda: len(target.requests) >= 2 * events)
        under_way = [
            session for session in processes.printed("runs", run, "--store", tape)["sessions"]
            if session["reason"] == "it began but has not ended: the run is still going on, or was killed"
        ]  # fmt: skip
        assert 1 <= len(under_way) <= 4
        came = {(who, ts) for who, ts in map(who_and_when, target.requests)}

        document = json.loads(processes.run("replay", "--resume", run, "--store", tape, "--json").stdout)
        assert_balanced(document)
        (recorded,) = {len(session["steps"]) for session in document["sessions"]}
        assert recorded == events + 1
        cut_short = [session["source"] for session in under_way]
        unknown = 0
        for n, session in enumerate(document["sessions"]):
            if session["source"] in cut_short:
                for k, step in enumerate(session["steps"]):
                    arrived = (str(n), builders.BEGIN_MS + n + k) in came
                    if step["outcome"] == "skipped":
                        assert not arrived
                    elif step["outcome"] == "same":
                        assert arrived
                    unknown += step["outcome"] == "failed"
        assert unknown >= 1
        assert len({request for _, request in target.requests}) == len(target.requests)

    def test_a_run_that_is_under_way_is_left_alone(self, store_url, server):
        tape = fill(store_url, crowd(40))
        go_on = threading.Event()

        def answer(number: int, path: str) -> bytes:
            assert number < 20 or go_on.wait(TIMEOUT_S)
            return answer_well(number, path)

        target = server(answer)
        command = [COMMAND, *arguments(tape, target.url, *MAX)]
        with forking.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            target.wait_for(20)
            (run,) = processes.printed("runs", "--store", tape)
            done = processes.run("replay", "--resume", run["id"], "--store", tape)
            assert (done.returncode, done.stdout) == (2, "")
            assert f"run {run['id']} is under way in another process" in done.stderr
            go_on.set()
            assert process.wait(TIMEOUT_S) == 0
        document = processes.printed("runs", run["id"], "--store", tape)
        assert document["totals"]["same"] == 200
        assert {len(came) for came in sent_by_session(target).values()} == {5}
        done = processes.run("replay", "--resume", run["id"], "--store", tape)
        assert "nothing left to send" in done.stderr

    def test_a_store_that_is_locked_for_a_while_only_delays_sending(self, sqlite_url, server):
        tape = fill(sqlite_url, crowd(30))
        target = server()
        command = [COMMAND, *arguments(tape, target.url, "--speed", "0.05", "--json")]
        with (
            contextlib.closing(sqlite3.connect(tape.removeprefix("sqlite:///"), isolation_level=None)) as db,
            forking.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process,
        ):
            target.wait_for(9)
            db.execute("BEGIN IMMEDIATE")
            assert process.poll() is None
            time.sleep(BUSY_TIMEOUT_S + 1)
            db.execute("ROLLBACK")
            document = json.loads(process.communicate(timeout=TIMEOUT_S)[0])
        assert_balanced(document)
        assert document["totals"]["same"] == len(target.requests) == 150

    def test_a_store_that_is_locked_at_the_end_gets_the_last_results_too(self, sqlite_url, server):
        tape = fill(sqlite_url, crowd(1))
        locked = threading.Event()

        def answer(number: int, path: str) -> bytes:
            assert number < 5 or locked.wait(TIMEOUT_S)
            return answer_well(number, path)

        target = server(answer)
        command = [COMMAND, *arguments(tape, target.url, *MAX, "--json")]
        with (
            contextlib.closing(sqlite3.connect(tape.removeprefix("sqlite:///"), isolation_level=None)) as db,
            forking.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process,
        ):
            target.wait_for(5)
            db.execute("BEGIN IMMEDIATE")
            locked.set()
            time.sleep(BUSY_TIMEOUT_S + 1)
            db.execute("ROLLBACK")
            document = json.loads(process.communicate(timeout=TIMEOUT_S)[0])
        assert document["totals"]["same"] == 5

    def test_resuming_a_finished_run_shows_it_again_even_if_an_older_version_made_it(self, tape, server):
        first = replayed(tape, server().url, *MAX)
        resume = ("replay", "--resume", first["id"], "--store", tape)
        assert processes.printed(*resume) == first
        for way in (("downgrade", "0003", "--yes"), ("upgrade",)):
            assert processes.run("db", *way, "--store", tape).returncode == 0
        again = processes.printed(*resume)
        steps = [step for session in again["sessions"] for step in session["steps"]]
        assert {step["sent"] for step in steps} == {None}, "what was sent is not known of it"
        for document in (first, again):
            for session in document["sessions"]:
                for step in session["steps"]:
                    del step["sent"]
        assert again == first

    def test_resuming_a_finished_run_lists_what_it_skipped(self, sqlite_url, server):
        left = dataclasses.replace(
            builders.event(id="left"), request=dataclasses.replace(builders.event().request, complete=False)
        )
        tape = fill(sqlite_url, [*playback(1), left])
        first = replayed(tape, server().url, *MAX)
        assert first["totals"]["skipped"] == 1
        said = processes.run("replay", "--resume", first["id"], "--store", tape).stderr
        assert "did not send 1 step of 1 session, and never will" in said
        assert "1 step: the device disconnected during its request" in said
        assert "has sent all" not in said

    def test_nothing_is_left_beside_the_store(self, tape, tmp_path, server):
        replayed(tape, server().url, *MAX)
        (folder,) = {Path(tape.removeprefix("sqlite:///")).parent}
        assert not list(folder.glob("*.lock"))

    def test_what_an_interruption_left_is_sent(self, tape, tmp_path):
        with collector(tmp_path, "--fault", "events:hang:nth=4") as target:
            command = [COMMAND, *arguments(tape, target.url, *MAX, "--concurrency", "1")]
            with forking.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                deadline = time.monotonic() + TIMEOUT_S
                while len(target.received()) < 5 and time.monotonic() < deadline:
                    time.sleep(0.02)
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=TIMEOUT_S)
            hint = re.search(r"sessiontape replay --resume ([0-9a-f]+)", said)
            assert hint is not None
            document = processes.printed("replay", "--resume", hint[1], "--store", tape, code=1)
        assert_balanced(document)
        first, second = document["sessions"]
        assert (first["verdict"], first["reason"]) == ("failed", "interrupted")
        assert second["verdict"] == "same"

    def test_a_run_whose_rest_can_never_be_sent_says_so_and_keeps_its_exit_code(self, sqlite_url, server):
        tape = fill(sqlite_url, playback(*(n * 60.0 for n in range(5))))
        target = server()
        with forking.Popen([COMMAND, *arguments(tape, target.url)], stderr=subprocess.PIPE, text=True) as process:
            target.wait_for(2)  # the next is due in a minute
            while processes.printed("runs", "--store", tape)[0]["totals"]["same"] < 2:
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 128 + signal.SIGTERM
        assert "the rest of 1 session will not be sent: a session cannot be continued in the middle" in said
        assert "sends" not in said
        (run,) = processes.printed("runs", "--store", tape)
        assert (run["verdict"], run["totals"]["same"], run["totals"]["skipped"]) == ("skipped", 2, 4)
        done = processes.run("replay", "--resume", run["id"], "--store", tape)
        assert done.returncode == 128 + signal.SIGTERM
        assert "nothing left to send" in done.stderr
        assert f"run {run['id']} did not send 4 steps of 1 session, and never will" in done.stderr
        assert re.search(r"^  [0-9a-f]{16} #3 to #6: 4 steps: interrupted$", done.stderr, re.MULTILINE)
        assert len(target.requests) == 2

    def test_a_run_goes_on_only_where_it_may_go(self, sqlite_url, server):
        trap = server()
        tape = fill(sqlite_url, crowd(30))
        allowed = ("--allow-host", f"127.0.0.1:{trap.port}")
        run = killed_in_the_middle(tape, trap.url, *MAX, "--concurrency", "1", when=lambda: len(trap.requests) >= 20)
        fill(sqlite_url, playback(1, upstream=trap.url))  # it has become an upstream meanwhile
        before = len(trap.requests)
        done = processes.run("replay", "--resume", run, "--store", tape)
        assert done.returncode == 2
        assert "--allow-host" in done.stderr
        assert len(trap.requests) == before
        processes.run("replay", "--resume", run, *allowed, "--store", tape)
        assert len(trap.requests) > before

    @pytest.mark.parametrize(
        ("more", "named"),
        [
            (["--all"], "--all"),
            (["0f0f"], "SESSION"),
            (["--target", "http://127.0.0.1:1"], "--target"),
            (["--state", "open"], "--state"),
            (["--speed", "1"], "--speed"),
            (["--timestamps", "keep"], "--timestamps"),
            (["--ignore", "status"], "--ignore"),
            (["--set", "$.a=1"], "--set"),
            (["--spread-equal-ts"], "--spread-equal-ts"),
            (["--no-safe"], "--safe/--no-safe"),
            (["--dry-run"], "--dry-run"),
        ],
    )
    def test_a_run_is_resumed_as_it_was_begun(self, tape, more, named):
        done = processes.run("replay", "--resume", "abc", *more, "--store", tape)
        assert done.returncode == 2
        assert f"--resume continues a run with the options that it began with: leave out {named}" in " ".join(
            done.stderr.split()
        )

    def test_options_in_the_environment_do_not_prevent_a_resume(self, tape, monkeypatch):
        monkeypatch.setenv("SESSIONTAPE_REPLAY_SPEED", "7")
        assert "no run matches 'abc'" in processes.run("replay", "--resume", "abc", "--store", tape).stderr

    def test_the_safe_profile_that_was_asked_for_is_kept(self, sqlite_url, server):
        tape = fill(sqlite_url, crowd(30))
        target = server()
        run = killed_in_the_middle(
            tape, target.url, *MAX, "--concurrency", "1", "--safe", when=lambda: len(target.requests) >= 10
        )
        before = len(target.requests)
        processes.run("replay", "--resume", run, "--store", tape)
        starts = [body for path, body in target.requests[before:] if path.endswith("/sessions")]
        assert starts
        assert not any(b"example-rsid" in body or b"0123456789ABCDEF" in body for body in starts)

    def test_a_session_that_was_deleted_meanwhile_is_listed(self, sqlite_url, server):
        tape = fill(sqlite_url, crowd(30))
        target = server()
        run = killed_in_the_middle(
            tape, target.url, *MAX, "--concurrency", "1", when=lambda: len(target.requests) >= 10
        )
        (last,) = processes.printed("sessions", "--limit", "1", "--store", tape)
        processes.run("delete", last["id"], "--yes", "--store", tape)
        document = json.loads(processes.run("replay", "--resume", run, "--store", tape, "--json").stdout)
        assert document["sessions"][-1]["reason"] == "it is no longer in the store"
        assert_balanced(document)


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(each) for each in found.stdout.split()]


def is_worker(pid: int) -> bool:
    return b"multiprocessing-fork" in Path(f"/proc/{pid}/cmdline").read_bytes()


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][:1]
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
class TestLongRuns:
    """From 200 sessions on, plans are made and results written in processes of their own."""

    def test_they_have_the_same_results_as_short_ones(self, store_url, server):
        tape = fill(store_url, crowd(210, events=1))
        target = server()
        document = replayed(tape, target.url, *MAX, "--concurrency", "16", "--set", "$.customMetadata.x=y")
        assert document["totals"]["same"] == 420
        assert {len(came) for came in sent_by_session(target).values()} == {2}
        assert all(b'"x":"y"' in request for _, request in target.requests)

    def test_a_few_large_sessions_make_a_long_run_too(self, sqlite_url, server):
        tape = fill(sqlite_url, crowd(3, events=3400))
        target = server()
        command = [COMMAND, *arguments(tape, target.url, *MAX, "--json")]
        with forking.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            target.wait_for(3)
            assert [pid for pid in children(process.pid) if is_worker(pid)]
            process.send_signal(signal.SIGTERM)  # that all goes out is seen where there is less
            document = json.loads(process.communicate(timeout=TIMEOUT_S)[0])
        assert_balanced(document)
        assert document["totals"]["recorded"] == 3 * 3401

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    def test_nothing_is_left_running_and_the_rest_can_be_sent(self, sqlite_url, server, number):
        tape = fill(sqlite_url, crowd(220, events=2))
        target = server()
        command = [COMMAND, *arguments(tape, target.url, *MAX, "--concurrency", "4")]
        with forking.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            target.wait_for(60)
            helpers = children(process.pid)
            assert helpers
            for pid in (process.pid, *(helpers if number == signal.SIGINT else ())):  # as a terminal does
                os.kill(pid, number)
            _, said = process.communicate(timeout=TIMEOUT_S)
        assert "Traceback" not in said
        deadline = time.monotonic() + TIMEOUT_S
        while any(map(is_running, helpers)):
            assert time.monotonic() < deadline, "a helper outlives its replay"
            time.sleep(0.02)
        (run,) = processes.printed("runs", "--store", tape)
        document = json.loads(processes.run("replay", "--resume", run["id"], "--store", tape, "--json").stdout)
        assert_balanced(document)
        assert len(document["sessions"]) == 220
        assert document["totals"]["recorded"] == 660
        whole = [session for session in document["sessions"] if session["verdict"] == "same"]
        assert len(whole) >= 210
        assert len({request for _, request in target.requests}) == len(target.requests)

    def test_a_signal_to_the_whole_group_ends_it_in_good_order(self, sqlite_url, server):
        tape = fill(sqlite_url, crowd(220, events=2))
        target = server()
        command = [COMMAND, *arguments(tape, target.url, *MAX, "--concurrency", "2", "--json")]
        with forking.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            target.wait_for(30)
            os.killpg(process.pid, signal.SIGTERM)
            out, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 128 + signal.SIGTERM
        assert "Traceback" not in err
        document = json.loads(out)
        assert_balanced(document)
        assert document["finished_at"] is not None

    def test_a_helper_that_dies_ends_the_run_and_the_rest_can_be_sent(self, sqlite_url, server):
        tape = fill(sqlite_url, crowd(220, events=2))
        for number in range(2):
            target = server()
            command = [COMMAND, *arguments(tape, target.url, *MAX, "--concurrency", "4")]
            with forking.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
                target.wait_for(60)
                helper = [pid for pid in children(process.pid) if is_worker(pid)][number]
                os.kill(helper, signal.SIGKILL)
                _, said = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 2
            assert "a helper process of the replay has died" in said
            assert "Traceback" not in said
            (run, *_) = processes.printed("runs", "--store", tape)
            document = json.loads(processes.run("replay", "--resume", run["id"], "--store", tape, "--json").stdout)
            assert_balanced(document)
            assert document["totals"]["recorded"] == 660
            assert len({request for _, request in target.requests}) == len(target.requests)


class TestPace:
    @pytest.mark.parametrize("speed", [1, 100])
    def test_arrivals_have_the_recorded_distances_over_the_speed(self, sqlite_url, server, speed):
        arrivals: list[datetime] = []

        def answer(number: int, path: str) -> bytes:
            arrivals.append(datetime.now(UTC))
            return answer_well(number, path)

        offsets_s = (0.1, 0.15, 0.4, 0.41, 0.9)
        tape = fill(sqlite_url, playback(*(offset_s * speed for offset_s in offsets_s)))
        document = replayed(tape, server(answer).url, "--speed", str(speed))
        assert len(arrivals) == 6
        (session,) = document["sessions"]
        begun = when(session["steps"][0]["sent_at"]) - timedelta(milliseconds=session["steps"][0]["drift_ms"])
        for arrived, offset_s, step in zip(arrivals, (0.0, *offsets_s), session["steps"], strict=True):
            late_s = (arrived - begun).total_seconds() - offset_s
            # What a machine under load needs from sending to noting is not drift.
            assert step["drift_ms"] / 1000 - 0.003 <= late_s < step["drift_ms"] / 1000 + TIMEOUT_S

    def test_a_slow_answer_delays_nobody_where_requests_overlapped(self, sqlite_url, server):
        slow = [builders.event("ping", id=f"e{n}", after_s=0.1 * n, duration_us=600_000) for n in range(1, 4)]
        tape = fill(sqlite_url, [builders.start(id="s"), *slow])

        has_last = threading.Event()

        def answer(number: int, path: str) -> bytes:
            if number == 2:
                assert has_last.wait(TIMEOUT_S)  # the others come over other connections
            elif number == 4:
                has_last.set()
            return answer_well(number, path)

        target = server(answer)
        document = replayed(tape, target.url, "--timeout", str(TIMEOUT_S))
        assert [step["outcome"] for step in document["sessions"][0]["steps"]] == ["same"] * 4
        assert 2 <= target.connections <= 3


def bodies(target: Server) -> list[bytes]:
    return [request.partition(b"\r\n\r\n")[2] for _, request in target.requests]


class TestChanging:
    @pytest.mark.every_version
    def test_bodies_and_headers_are_changed_as_told(self, sqlite_url, server, tmp_path):
        tape = fill(sqlite_url, [builders.start(id="s"), builders.event("play", params={"media.id": "x", "a": 1})])
        file = tmp_path / "mine.toml"
        file.write_text(
            '[[change]]\ndo = "pseudonym"\npath = "$.params[\'media.name\']"\n'
            '[[change]]\ndo = "set-header"\nname = "X-Test"\nvalue = "yes"\n'
        )
        target = server()
        done = processes.run(
            *arguments(
                tape, target.url, *MAX, "--timestamps", "keep", "--changes", str(file), "--set",
                "$.params['media.id']=neu", "--drop", "$.params.a", "--drop", "$.never", "--drop-header", "User-Agent",
            )
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "drop $.never found nothing to change" in done.stderr
        start, play = map(json.loads, bodies(target))
        assert (start["params"]["media.id"], play["params"]) == ("neu", {"media.id": "neu"})
        assert re.fullmatch(r"[0-9a-f]{16}", start["params"]["media.name"])
        for _, request in target.requests:
            assert b"\r\nX-Test: yes\r\n" in request
            assert b"User-Agent" not in request

    def test_a_run_remembers_what_it_changed(self, store_url, server, tmp_path):
        known = {**builders.START_PARAMS, "visitor.marketingCloudUserId": "1" * 38}
        events = [builders.start(id="s", params=known), builders.event("play", params={}), builders.preflight(id="p")]
        tape = fill(store_url, events)
        files = [tmp_path / f"run.{suffix}" for suffix in ("html", "json", "xml")]
        target = server()
        document = replayed(
            tape, target.url, *MAX, "--safe", "--set", "$.params['media.name']=B", "--only-present", "--drop", "$.never",
            "--set-header", "X-Test=yes", *(part for file in files for part in ("--report", str(file))),
        )  # fmt: skip
        assert [(each["option"], each["path"], each["name"], each["places"]) for each in document["changes"]] == [
            ("--safe", None, None, 4),
            ("--set", "$.params['media.name']", None, 1),
            ("--drop", "$.never", None, 0),
            ("--set-header", None, "X-Test", 2),
        ]
        (session,) = document["sessions"]
        start, play, preflight = (
            step["sent"] for step in sorted(session["steps"], key=lambda step: step["outcome"] == "skipped")
        )
        hashes = [hashlib.sha256(body).hexdigest() for body in bodies(target)]
        assert [start["body_sha256"], play["body_sha256"], preflight] == [*hashes, None]
        assert {"where": "/params/media.name", "recorded": '"A film"', "sent": '"B"'} in start["differences"]
        assert play["differences"] == [{"where": "request.header.X-Test", "recorded": None, "sent": "yes"}]
        assert "1" * 38 not in json.dumps(document) + "".join(file.read_text() for file in files)
        assert processes.printed("runs", document["id"], "--store", tape) == document
        assert json.loads(files[1].read_text()) == document
        shown = processes.run("runs", document["id"], "--store", tape).stdout
        assert "changed 1 place: --set $.params['media.name']=\"B\", only if present" in shown
        assert "changed 4 places: --safe" in shown
        listed = shown.partition("Changed in the requests\n")[2].partition("\n\n")[0]
        assert '  #2 sessionStart /params/media.name: "A film" -> "B"\n' in listed
        assert "  #2 sessionStart /params/visitor.marketingCloudUserId: (not shown) -> " in listed
        assert "  #3 play request.header.X-Test: nothing -> yes" in listed
        assert "--set $.params['media.name']" in processes.run("runs", "--store", tape).stdout

    def test_a_host_that_is_set_goes_out_once_and_to_the_target(self, sqlite_url, server):
        target = server()
        tape = fill(
            sqlite_url, [builders.start(id="s", headers=(("Host", "shop.example"), ("A", "b"))), builders.event()]
        )
        replayed(
            tape,
            target.url,
            *MAX,
            "--set-header",
            "Host=shop.example",
            "--set-header",
            "host=other.example:81",
        )
        for _, request in target.requests:
            head = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
            assert head[1] == b"Host: other.example:81"
            assert sum(line.lower().startswith(b"host:") for line in head) == 1

    def test_equal_times_are_spread(self, sqlite_url, server):
        ts = builders.BEGIN_MS
        tape = fill(
            sqlite_url,
            [
                builders.start(ts=ts),
                *(builders.event(kind, id=kind, after_s=1, ts=ts) for kind in ("play", "chapterStart")),
            ],
        )
        target = server()
        replayed(tape, target.url, *MAX, "--timestamps", "keep", "--spread-equal-ts")
        assert sorted(ts_of(body) - ts for body in bodies(target)) == [0, 1, 2]
        (play,) = (body for body in bodies(target) if b'"play"' in body)
        assert ts_of(play) == ts + 2

    def test_shifts_are_measured_from_the_times_after_changes(self, sqlite_url, server):
        tape = fill(sqlite_url, playback(1))
        target = server()
        began_ms = time.time() * 1000
        replayed(tape, target.url, *MAX, "--set", "$.playerTime.ts=1234")
        assert all(began_ms - 1000 < ts_of(body) < began_ms + TIMEOUT_S * 1000 for body in bodies(target))

    def test_equal_times_are_spread_after_the_changes(self, sqlite_url, server):
        ts = builders.BEGIN_MS
        batch = [builders.event_dict(kind, ts=ts) for kind in ("sessionStart", "play", "ping", "sessionEnd")]
        tape = fill(sqlite_url, [builders.batch(batch)])
        target = server()
        replayed(tape, target.url, *MAX, "--timestamps", "keep", "--spread-equal-ts", "--drop", "$[1]", code=1)
        ((_, request),) = target.requests
        sent = json.loads(request.partition(b"\r\n\r\n")[2])
        assert [event["playerTime"]["ts"] - ts for event in sent] == [0, 1, 2]

    def test_the_safe_profile_is_on_by_default_if_the_target_needs_allow_host(self, sqlite_url, server):
        trap = server()
        known = {**builders.START_PARAMS, "visitor.marketingCloudUserId": "1" * 38}
        tape = fill(sqlite_url, [builders.start(params=known, upstream=trap.url)])
        allowed = (*MAX, "--allow-host", f"127.0.0.1:{trap.port}")
        replayed(tape, trap.url, *allowed)
        replayed(tape, trap.url, *allowed, "--no-safe")
        replayed(tape, server().url, *MAX)
        safe, raw = (json.loads(body)["params"] for body in bodies(trap))
        assert raw == known
        assert safe["analytics.reportSuite"] == "sessiontape-replay"
        assert safe["visitor.marketingCloudUserId"] != known["visitor.marketingCloudUserId"]
        assert len(safe["visitor.marketingCloudUserId"]) == 38

    def test_what_cannot_be_made_safe_is_not_sent(self, sqlite_url, server):
        trap = server()
        compressed = gzip.compress(builders.body(builders.event_dict("play")))
        exchanges = [builders.start(id="x1"), builders.event(id="x2", body=compressed), builders.event("ping", id="x3")]
        tape = fill(sqlite_url, exchanges)
        document = replayed(tape, trap.url, *MAX, "--safe")
        outcomes = [step["outcome"] for step in document["sessions"][0]["steps"]]
        assert outcomes == ["same", "skipped", "same"]
        assert "cannot be made safe" in document["sessions"][0]["steps"][1]["reason"]
        assert len(trap.requests) == 2
        replayed(tape, trap.url, *MAX)
        assert trap.requests[3][1].endswith(compressed)

    def test_a_dry_run_prints_what_a_run_sends_and_sends_nothing(self, tape, server):
        target = server()
        how = ("--timestamps", "keep", "--set", "$.x=1", "--safe")
        planned = processes.printed(*arguments(tape, f"{target.url}/below", "--dry-run", *how))
        assert target.connections == 0
        assert processes.printed("runs", "--store", tape) == []
        replayed(tape, f"{target.url}/below", *MAX, *how, "--concurrency", "1")
        steps = [step for session in planned["sessions"] for step in session["steps"] if step["skip"] is None]
        assert len(steps) == len(target.requests) == 28
        for step, (path, request) in zip(steps, target.requests, strict=True):
            head, _, body = request.partition(b"\r\n\r\n")
            new_id = path.split("/")[5] if path.count("/") > 4 else ""
            first, *others = head.decode("latin-1").split("\r\n")
            assert first == f"{step['method']} {step['path']} HTTP/1.1".replace("{session}", new_id)
            lines = [f"{name}: {value}" for name, value in step["headers"]]
            is_same = step["body"]["text"].encode() == body
            assert is_same or any(word in body for word in (b"visitor", b"reportSuite"))
            assert others[: None if is_same else -1] == lines[: None if is_same else -1]  # Content-Length is the last
            assert json.loads(body)["x"] == 1
        unused = ("--drop", "$.never", "--set", "$.params.media.channel=x")
        text = processes.run(*arguments(tape, target.url, "--dry-run", "--set", "$.x=1", *unused))
        assert "not sent: preflight" in text.stdout
        assert re.search(r"sessionStart +[0-9]+  POST /api/v1/sessions\n    /x: nothing -> 1\n", text.stdout)
        assert f"2 sessions, 28 requests to send to {target.url} at speed 1" in text.stdout
        assert "changed 28 places: --set $.x=1" in text.stdout
        assert "--drop $.never found nothing to change\n" in text.stderr
        hint = "names with dots are quoted: $.params['media.channel']"
        assert f'--set $.params.media.channel="x" found nothing to change; {hint}\n' in text.stderr
        unquoted = refused(tape, target.url, "--set", "$.params[media.channel]=x")
        assert "is not a JSONPath" in unquoted
        assert hint in unquoted

    def test_a_dry_run_of_what_is_refused_prints_the_plan_and_says_so(self, sqlite_url, server):
        trap = server()
        tape = fill(sqlite_url, sdk_exchanges(upstream=trap.url))
        done = processes.run(*arguments(tape, trap.url, "--dry-run"))
        assert done.returncode == 2
        assert f"28 requests to send to {trap.url}" in done.stdout
        assert "without --dry-run this replay would be refused: refused to replay to" in done.stderr
        assert f"--allow-host 127.0.0.1:{trap.port}" in done.stderr
        assert trap.connections == 0
        for target in ("http://192.0.2.1", "https://nobody.invalid", "http://127.1"):
            planned = json.loads(processes.run(*arguments(tape, target, "--dry-run", "--json")).stdout)
            assert planned["target"] == target

    @pytest.mark.parametrize(
        ("option", "says"),
        [
            (("--set", "a=1"), "not a JSONPath"),
            (("--drop", "$.a["), "not a JSONPath"),
            (("--drop-header", "Host"), "cannot be changed"),
            (("--only-present",), "applies to --set"),
            (("--ignore", "nonsense"), "not a place in an answer"),
            (("--changes", "missing.toml"), "cannot read"),
            (("--report", "run.txt"), "does not name the format"),
            (("--dry-run", "--learn-noise"), "--learn-noise sends"),
        ],
    )
    def test_invalid_options_are_errors_and_nothing_is_sent(self, tape, server, option, says):
        target = server()
        assert says in refused(tape, target.url, *option)
        assert target.connections == 0


class TestNoise:
    def errors(self, number: int, path: str) -> bytes:
        if not path.endswith("/events"):
            return answer_well(number, path)
        body = json.dumps({"message": "no", "requestId": number}).encode()
        return b"HTTP/1.1 400 Bad\r\nX-Id: %d\r\nContent-Length: %d\r\n\r\n%b" % (number, len(body), body)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_learning_noise_ends_on_a_signal(self, tape, tmp_path, number):
        with (
            collector(tmp_path, "--fault", "events:hang:nth=4") as target,
            forking.Popen(
                [COMMAND, *arguments(tape, target.url, "--learn-noise", "--timeout", "600")],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            ) as process,
        ):  # fmt: skip
            deadline = time.monotonic() + TIMEOUT_S
            while len(target.received()) < 5 and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(number)
            out, err = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, out) == (128 + number, "")
        assert "Traceback" not in err

    def test_noise_is_learned_by_sending_twice_and_can_be_ignored(self, sqlite_url, server):
        answer = builders.response(400, body=b'{"message":"no","requestId":0}')
        tape = fill(sqlite_url, [builders.start(id="s"), builders.event("play", response=answer)])
        target = server(self.errors)
        learned = processes.printed(*arguments(tape, target.url, "--learn-noise"))
        assert learned == {"ignore": ["body/requestId"]}
        assert len(target.requests) == 4
        assert processes.printed("runs", "--store", tape) == []
        document = replayed(tape, target.url, *MAX, code=1)
        (difference,) = document["sessions"][0]["steps"][1]["differences"]
        assert difference["where"] == "body/requestId"
        replayed(tape, target.url, *MAX, "--ignore", "body/requestId")

    def test_what_is_learned_can_be_pasted_whatever_the_target_says(self, sqlite_url, server):
        answer = builders.response(400, body=b"{}")
        tape = fill(sqlite_url, [builders.start(id="s"), builders.event("play", response=answer)])

        def error(number: int, path: str) -> bytes:
            if not path.endswith("/events"):
                return answer_well(number, path)
            said = json.dumps({"it's; $(touch pwned) [x]": number}).encode()
            return b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)

        target = server(error)
        printed = processes.run(*arguments(tape, target.url, "--learn-noise")).stdout.strip()
        option, where = shlex.split(printed)
        assert option == "--ignore"
        replayed(tape, target.url, *MAX, option, where)

    @pytest.mark.every_version
    def test_reports_are_written(self, tape, server, tmp_path):
        target = server()
        files = [tmp_path / f"run.{suffix}" for suffix in ("html", "json", "xml")]
        document = replayed(tape, target.url, *MAX, *(part for file in files for part in ("--report", str(file))))
        assert json.loads(files[1].read_text()) == document
        assert document["id"] in files[0].read_text()
        assert 'tests="2"' in files[2].read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
def test_a_terminal_shows_the_progress(sqlite_url, server):
    import pty

    tape = fill(sqlite_url, crowd(20, events=3))
    parent, child = pty.openpty()
    command = [COMMAND, *arguments(tape, server().url, "--speed", "0.05", "--concurrency", "20")]
    wide = {**os.environ, "COLUMNS": "160"}
    with forking.Popen(command, stdin=child, stdout=subprocess.DEVNULL, stderr=child, env=wide) as process:
        os.close(child)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(parent, 4096):
                shown += piece
        assert process.wait(TIMEOUT_S) == 0
    os.close(parent)
    assert b"requests/s" in shown
    assert b"drift p95" in shown
    assert b"80/80 steps" in shown
