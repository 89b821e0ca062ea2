"""Hard cases: each of these once lost data, sent requests where it should not, or ended in a traceback."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from storage import saving
from storage.engine import Store
from storage.saving import RecordingRun
from storage.sqlite import BUSY_TIMEOUT_S
from tests import processes
from tests.builders import BEGIN, body, event, event_dict, exchange, response, start, unjudged
from tests.processes import printed, run

START = body(event_dict("sessionStart"))
LOCK = 0x5E5510
"""The advisory lock that writers of one PostgreSQL store take turns with."""


def save(store: Store, *exchanges: object) -> None:
    with store.write() as db:
        recording = RecordingRun(id="r", name=None, started_at=BEGIN, version="0")
        saving.save(db, recording, unjudged(list(exchanges)))  # type: ignore[arg-type]


@contextmanager
def held(store_url: str) -> Iterator[None]:
    """Keep writers out of a store, as a store that hangs would."""
    if store_url.startswith("postgresql"):
        with psycopg.connect(store_url) as db:
            db.execute(f"SELECT pg_advisory_lock({LOCK})")
            yield
        return
    import sqlite3

    with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"), isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


def test_a_replay_does_not_reach_the_recorded_server_by_a_name_that_the_device_made_up(sqlite_url, tmp_path):
    """A proxy is told where to connect; a device's Host header may say anything."""
    command = [processes.COMMAND, "record", "--mode", "regular@127.0.0.1:0", "--store", sqlite_url]
    with processes.collector(tmp_path) as upstream:
        with processes.serving(command, tmp_path) as proxy:
            answer = proxy.ask("POST", f"{upstream.url}/api/v1/sessions", START, {"Host": "tv.invalid"})
            assert answer.status == 201
        refused = run("replay", "--all", "--target", upstream.url, "--store", sqlite_url)
        assert refused.returncode == 2
        assert "--allow-host" in refused.stderr
        assert len(upstream.received()) == 1
    assert printed("sessions", "--store", sqlite_url)[0]["upstream"] == upstream.url


def test_the_address_that_was_connected_to_counts_whatever_it_is_called_now(store, tmp_path):
    with processes.collector(tmp_path) as upstream:
        save(store, exchange(id="x", upstream="http://gone.invalid", server_address=("127.0.0.1", upstream.port)))
        refused = run("replay", "--all", "--target", upstream.url, "--store", store.url)
        assert (refused.returncode, upstream.log.exists() and upstream.received()) in ((2, False), (2, []))
        assert "http://gone.invalid" in refused.stderr


@pytest.mark.parametrize("option", ["mode=reverse:http://127.0.0.1:9", "tape_store=x", "listen_port=1"])
def test_options_that_the_recorder_manages_cannot_be_changed_with_set(tmp_path, option):
    done = run("record", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--set", option, cwd=tmp_path)
    assert done.returncode == 2
    assert f"--set {option.partition('=')[0]}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_hangs_delays_no_answer_and_nothing_is_lost(store_url, tmp_path):
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, store_url) as proxy:
        with held(store_url):
            took_s = []
            for _ in range(4):
                began_s = time.monotonic()
                assert proxy.ask("POST", "/api/v1/sessions", START).status == 201
                took_s.append(time.monotonic() - began_s)
        assert max(took_s) < BUSY_TIMEOUT_S - 1, took_s
        deadline = time.monotonic() + 60
        while len(printed("sessions", "--store", store_url)) < 4:
            assert time.monotonic() < deadline
    assert "4 exchanges stored, 0 lost" in proxy.process.output


def test_what_a_hanging_store_does_not_take_waits_for_the_next_recorder_and_stopping_takes_under_ten_seconds(
    store_url, tmp_path
):
    with processes.collector(tmp_path) as upstream:
        with (
            processes.recorder(tmp_path, upstream.url, store_url, ends_with=2) as proxy,
            held(store_url),
        ):
            for _ in range(3):
                assert proxy.ask("POST", "/api/v1/sessions", START).status == 201
            began_s = time.monotonic()
            proxy.process.stop()
            assert time.monotonic() - began_s < 10
        assert "3 exchanges wait in " in proxy.process.output
        assert "0 exchanges stored, 0 lost" in proxy.process.output
        with processes.recorder(tmp_path, upstream.url, store_url):
            assert len(printed("sessions", "--store", store_url)) == 3


def test_a_stream_that_is_not_recorded_passes_as_it_comes(sqlite_url, tmp_path):
    more = threading.Event()

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            more.wait(20)
            connection.sendall(b"4\r\nlast\r\n0\r\n\r\n")

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with (
            processes.recorder(tmp_path, url, sqlite_url) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as device,
        ):
            device.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            got = b""
            while b"first" not in got:
                got += device.recv(65536)
            more.set()
            while b"last" not in got:
                got += device.recv(65536)
    assert printed("exchanges", "--store", sqlite_url) == []


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: zz\r\n\r\n"])
def test_an_upstream_that_speaks_something_else_makes_no_noise(sqlite_url, tmp_path, answer):
    def speak(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=speak, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with processes.recorder(tmp_path, url, sqlite_url) as proxy:
            assert proxy.ask("POST", "/api/v1/sessions", START).status == 502
            assert proxy.ask("POST", "/api/v1/sessions", START).status == 502
        listener.shutdown(socket.SHUT_RDWR)
    assert "crashed" not in proxy.process.output
    assert "Traceback" not in proxy.process.output


def test_mitmdump_says_that_the_store_is_not_there_without_a_traceback(tmp_path):
    path = run("addon-path").stdout.strip()
    done = subprocess.run(
        [str(processes.BIN / "mitmdump"), "-s", path, "--mode", "reverse:http://127.0.0.1:9@127.0.0.1:0",
         "--set", "tape_store=sqlite:////no/such/folder/x.db", "--set", f"confdir={tmp_path}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "cannot open" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_other_devices_that_send_the_same_start_are_no_retries(store):
    for number in range(3):
        id = f"{number}" * 8
        save(
            store,
            start(id=f"s{number}", session_id=id, after_s=number, client_address=f"192.0.2.{number}"),
            event("play", id=f"p{number}", session_id=id, after_s=number + 0.1),
        )
    assert [session["retry_of"] for session in printed("sessions", "--store", store.url)] == [None] * 3


def test_a_start_after_one_that_went_on_to_play_is_no_retry(store):
    save(store, start(id="s1", session_id="aaaa"), event("play", id="p1", session_id="aaaa", after_s=1))
    save(store, start(id="s2", session_id="bbbb", after_s=2))
    assert [session["retry_of"] for session in printed("sessions", "--store", store.url)] == [None, None]


def test_of_two_sessions_opened_for_one_playback_the_one_without_events_gets_a_finding(store_url, tmp_path):
    """As seen on a real page that does not wait for the answer to its first start."""
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, store_url) as proxy:
        for ts in (1772366400000, 1772366400300):
            opened = proxy.ask("POST", "/api/v1/sessions", body(event_dict("sessionStart", ts=ts)))
        location = dict(opened.headers)["Location"]
        played = body(event_dict("play", ts=1772366401000))
        assert proxy.ask("POST", f"{location}/events", played).status == 204
    played_in, opened_only = printed("sessions", "--store", store_url)
    assert (played_in["findings"]["warning"], opened_only["findings"]["warning"]) == (0, 1)
    shown = printed("show", opened_only["id"], "--json", "--store", store_url)["findings"]
    [finding] = [each for each in shown if each["severity"] == "warning"]
    assert (finding["rule"], finding["seq"], finding["places"]) == ("session-opened-twice", None, [])
    assert played_in["id"] in finding["message"]
    judged = {each["id"]: each["findings"] for each in printed("check", "--all", "--store", store_url)["sessions"]}
    assert "session-opened-twice" in {each["rule"] for each in judged[opened_only["id"]]}
    assert "session-opened-twice" not in {each["rule"] for each in judged[played_in["id"]]}


def test_attempts_stay_attempts_of_one_playback_when_the_first_is_deleted(store):
    save(
        store,
        start(id="s1", body=START, response=response(500)),
        start(id="s2", body=START, after_s=1, response=response(500)),
        start(id="s3", body=START, after_s=2),
    )
    last, second, first = printed("sessions", "--store", store.url)
    assert (second["retry_of"], last["retry_of"]) == (first["id"], first["id"])
    assert run("delete", first["id"], "--yes", "--store", store.url).returncode == 0
    last, second = printed("sessions", "--store", store.url)
    assert (second["retry_of"], last["retry_of"]) == (None, second["id"])


@pytest.mark.parametrize("playhead", [int("17" + "0" * 307), -int("17" + "0" * 307)])
def test_a_playhead_beyond_all_measure_is_shown(store, playhead):
    save(store, start(id="s1", playhead=playhead), event("ping", id="p1", after_s=1, playhead=-playhead))
    session = printed("sessions", "--store", store.url)[0]
    for options in ((), ("--bodies",)):
        done = run("show", session["id"], *options, "--store", store.url)
        assert (done.returncode, done.stderr) == (0, "")


def test_an_ascii_terminal_does_not_make_a_command_fail(store):
    save(store, start(id="s1", body=body(event_dict("sessionStart", params={"media.name": "日本"}))))
    session = printed("sessions", "--store", store.url)[0]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [processes.COMMAND, "show", session["id"], "--bodies", "--store", store.url]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_is_an_error(store):
    save(store, start(id="s1"))
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [processes.COMMAND, "sessions", "--store", store.url],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_path_of_the_upstream_in_any_script_arrives_percent_encoded(sqlite_url, tmp_path):
    with processes.collector(tmp_path) as upstream:
        with processes.recorder(tmp_path, f"{upstream.url}/日本/x", sqlite_url) as proxy:
            assert proxy.ask("POST", "/api/v1/sessions", START).status == 201
        assert [each["path"] for each in upstream.received()] == ["/%E6%97%A5%E6%9C%AC/x/api/v1/sessions"]
    too_long = run("record", "--upstream", f"http://127.0.0.1:9/{'x' * 500}", cwd=tmp_path)
    assert too_long.returncode == 2
    assert "too long" in too_long.stderr


def test_a_body_in_broken_chunks_is_refused_and_stored_as_such(sqlite_url, tmp_path):
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as device:
            head = b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            device.sendall(head + b"5\r\nhello\r\nZZ\r\n")
            while device.recv(65536):
                pass
        deadline = time.monotonic() + 60
        while not (found := printed("sessions", "--store", sqlite_url)):
            assert time.monotonic() < deadline
    (only,) = printed("show", found[0]["id"], "--store", sqlite_url)["exchanges"]
    assert only["outcome"] == "rejected"


def test_a_request_arrives_with_its_first_byte(sqlite_url, tmp_path):
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as device:
            for pause_s in (2.0, 0.0):
                began_s = time.time()
                device.sendall(b"POST /api/v1/sessions HT")
                time.sleep(pause_s)
                device.sendall(b"TP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(START) + START)
                assert device.recv(65536).startswith(b"HTTP/1.1 201")
                took_s = time.time() - began_s
        second, first = printed("sessions", "--store", sqlite_url)
    shown = [printed("show", each["id"], "--store", sqlite_url)["exchanges"][0] for each in (first, second)]
    assert shown[0]["duration_ms"] >= 1000  # the first byte may be read a little later than it was sent
    assert shown[1]["duration_ms"] <= took_s * 1000


# What a newcomer tried -----------------------------------------------------------------------------------------------


def test_a_pipe_that_ends_early_is_no_error(store):
    events = [event("ping", id=f"e{n}", after_s=n, playhead=n, ts=1_772_366_400_000 + n) for n in range(1, 3000)]
    save(store, start(id="s1"), *events)
    session = printed("sessions", "--store", store.url)[0]["id"]
    for options in ("", "--bodies"):
        command = f"{processes.COMMAND} show {session} {options} --store '{store.url}' | head -3"
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_proxy_is_not_its_own_upstream(tmp_path):
    done = run("record", "--upstream", "http://localhost:8099", "--listen", "127.0.0.1:8099", cwd=tmp_path)
    assert done.returncode == 2
    assert "is this proxy itself" in done.stderr


def test_an_address_that_cannot_be_listened_on_is_a_plain_error(tmp_path):
    with processes.collector(tmp_path) as other:
        for listen, reason in (
            (f"127.0.0.1:{other.port}", "Address already in use"),
            ("192.0.2.1:0", "this machine has no address"),
        ):
            done = run("record", "--upstream", "http://127.0.0.1:9", "--listen", listen, cwd=tmp_path)
            assert done.returncode == 2
            assert f"cannot listen on {listen}: {reason}" in done.stderr
            assert done.stderr.count("\n") == 2


def test_a_store_of_another_program_is_left_alone(tmp_path):
    import sqlite3

    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE sessions (x)")
    for command in ("sessions", "db upgrade"):
        done = run(*command.split(), "--store", f"sqlite:///{path}")
        assert done.returncode == 2
        assert "sessiontape did not make" in done.stderr


def test_plain_http_behind_https_is_recognised(store, tmp_path):
    save(store, start(id="s1"))
    with processes.collector(tmp_path) as target:
        done = run("replay", "--all", "--target", f"https://127.0.0.1:{target.port}", "--store", store.url)
    assert done.returncode == 2
    assert "is it http?" in done.stderr


def test_tables_in_a_pipe_have_no_trailing_blanks(store):
    save(store, start(id="s1"))
    for command in ("sessions", "show SESSION --bodies", "check --all", "runs", "rules"):
        session = printed("sessions", "--store", store.url)[0]["id"]
        arguments = command.replace("SESSION", session).split()
        lines = run(*arguments, *(() if command == "rules" else ("--store", store.url))).stdout.splitlines()
        assert [line for line in lines if line != line.rstrip()] == []


def test_a_misspelled_name_gets_a_suggestion(tmp_path):
    assert "did you mean sessions?" in run("session").stderr
    assert "did you mean sqlite:///tape.db?" in run("sessions", "--store", "tape.db").stderr
    pem = tmp_path / "no.pem"
    pem.write_text("no certificate", encoding="utf-8")
    done = run(
        "record", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--cert", str(pem), cwd=tmp_path
    )
    assert done.returncode == 2
    assert "a PEM file with the certificate and its private key" in done.stderr
