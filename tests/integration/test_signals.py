"""What ends a command: Ctrl-C, SIGTERM and SIGHUP alike, in good order; a second one at once."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from proxy_addon.process import signals
from tests import forking, processes
from tests.builders import body, event_dict
from tests.integration.test_outcomes import wait_until_refused
from tests.lanes import free_port

START = body(event_dict("sessionStart"))
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
WITHIN_S = 60

every_signal = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


@every_signal
def test_a_server_ends_well(number: signal.Signals, tmp_path: Path, sqlite_url: str) -> None:
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
        assert proxy.ask("POST", "/api/v1/sessions", START).status == 201
        assert proxy.process.stop(number) == 0
        assert upstream.process.stop(number) == 0
    assert "Traceback" not in proxy.process.output + upstream.process.output
    assert len(processes.printed("sessions", "--store", sqlite_url)) == 1


def test_a_signal_while_a_recorder_reads_schemas_is_not_lost(tmp_path: Path, sqlite_url: str) -> None:
    code = f"""
import os, signal, sys, time
from proxy_addon.recording.judging import Judge

def learn(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.5)  # as a store takes that is far away

Judge.learn = learn
sys.argv = ["sessiontape", "record", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--reject-invalid"]
sys.argv += ["--store", {sqlite_url!r}]
from proxy_addon.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WITHIN_S, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "0 exchanges stored, 0 lost" in done.stdout + done.stderr
    assert "listening" not in done.stdout


def test_a_recorder_ends_in_time_although_the_name_of_its_upstream_is_being_looked_up(
    tmp_path: Path, sqlite_url: str
) -> None:
    port = free_port()
    code = f"""
import os, signal, socket, sys, threading, time
look_up, looked_up = socket.getaddrinfo, threading.Semaphore(0)

def slowly(host, *rest, **options):
    if host == "upstream.example":
        looked_up.release()
        time.sleep(60)  # as with a name server that does not answer
    return look_up(host, *rest, **options)

socket.getaddrinfo = slowly

def play():
    while True:
        try:
            with socket.create_connection(("127.0.0.1", {port})) as device:
                device.sendall(b"POST /api/v1/sessions HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}")
                for _ in ("for the notice", "for the request"):
                    looked_up.acquire()
                os.kill(os.getpid(), signal.SIGTERM)
                device.recv(1)
                return
        except OSError:
            time.sleep(0.05)

threading.Thread(target=play, daemon=True).start()
sys.argv = ["sessiontape", "record", "--upstream", "http://upstream.example", "--listen", "127.0.0.1:{port}"]
sys.argv += ["--store", {sqlite_url!r}]
from proxy_addon.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WITHIN_S, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "1 exchange stored, 0 lost" in done.stdout + done.stderr


def test_a_signal_during_a_finalizer_is_not_lost() -> None:
    code = """
import os, time
from proxy_addon.process import signals

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), 2)
        time.sleep(0)

signals.raise_on_signals()
try:
    Finalized()
    time.sleep(30)
except signals.Ended as e:
    print(e)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WITHIN_S, check=True)
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_a_signal_while_the_interpreter_ends_leaves_no_traceback() -> None:
    code = """
import atexit, os, sys, time
from proxy_addon import cli

def exiting():
    os.kill(os.getpid(), 2)
    time.sleep(30)

atexit.register(exiting)
sys.argv[1:] = ["--version"]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@every_signal
def test_a_command_that_waits_for_its_input_ends(number: signal.Signals, tmp_path: Path) -> None:
    pipe = tmp_path / "body"
    os.mkfifo(pipe)
    command = [processes.COMMAND, "check", "--file", str(pipe), "--as", "sessions"]
    process = forking.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process, pipe.open("wb"):  # opens once the command has opened it too
        process.send_signal(number)
        out, err = process.communicate(timeout=WITHIN_S)
    said = b"sessiontape: interrupted\n" if number == signal.SIGINT else b""
    assert (process.returncode, out, err) == (128 + number, b"", said)


def test_a_recorder_that_waits_for_answers_ends_at_once_on_the_second_signal(tmp_path: Path, sqlite_url: str) -> None:
    with processes.collector(tmp_path, "--fault", "sessions:hang") as upstream:
        command = [processes.COMMAND, "record", "--upstream", upstream.url, *processes.ANY_PORT, "--store", sqlite_url]
        proxy = processes.Process(command, tmp_path, "listening on")
        port = int(proxy.wait_until_ready().partition("//127.0.0.1:")[2].split()[0])
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as device:
            device.request("POST", "/api/v1/sessions", START)
            while not upstream.received():
                pass
            proxy.popen.send_signal(signal.SIGTERM)
            wait_until_refused(port)
            time.sleep(signals.SAME_S)
            assert proxy.popen.poll() is None, "it waits four seconds for the answer"
            assert proxy.stop(signal.SIGHUP) == -signal.SIGHUP


LINGERS = """
import sys, threading, time
from proxy_addon.process import signals
now_s = 0.0
time.monotonic = lambda: now_s
signals.raise_on_signals()
try:
    print("ready", flush=True)
    threading.Event().wait()
except signals.Ended as e:
    print(e.number, flush=True)
    for line in sys.stdin:
        now_s = float(line)
        print(line, end="", flush=True)
"""
"""Goes on after the first signal, at the time that it is told on its input: a busy machine has another."""


@pytest.mark.parametrize("second", SIGNALS, ids=lambda number: number.name)
@every_signal
def test_any_second_signal_ends_what_does_not_come_to_an_end(number: signal.Signals, second: signal.Signals) -> None:
    with lingering() as process:
        process.send_signal(number)
        assert process.stdout is not None
        assert process.stdout.readline() == f"{int(number)}\n"
        process.send_signal(number)  # as timeout does, which hands a signal to its child and to the child's group
        let_pass(process, signals.SAME_S)
        process.send_signal(number)
        let_pass(process, signals.SAME_S + 0.01)
        process.send_signal(second)
        assert process.wait(WITHIN_S) == -second


def test_what_nohup_started_goes_on_when_its_terminal_is_gone() -> None:
    with lingering("import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)") as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == f"{int(signal.SIGTERM)}\n"
        let_pass(process, signals.SAME_S + 0.01)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == -signal.SIGTERM


@contextmanager
def lingering(before: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that does not come to an end by itself, ready for signals."""
    command = [sys.executable, "-c", before + LINGERS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(WITHIN_S, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def let_pass(process: subprocess.Popen[str], seconds: float) -> None:
    """Let a process that lingers deal with the signals it has got, and then set its clock."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    assert process.stdout.readline() == f"{seconds}\n"
