"""Processes of the installed command on loopback: start them, wait for their output, and end them by pid."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import forking

BIN = Path(sys.executable).parent
COMMAND = str(BIN / "sessiontape")
ANY_PORT = ("--listen", "127.0.0.1:0")
READY_WITHIN_S = 60
STOPS_WITHIN_S = 30


class Process:
    """A server of ours."""

    def __init__(self, command: list[str], cwd: Path, ready: str) -> None:
        self.lines: list[str] = []
        self._ready = ready
        self._is_over = False
        self._has_said = threading.Condition()
        is_ours = command[0] == COMMAND
        make = forking.Popen if is_ours else subprocess.Popen
        self.popen = make(
            command,
            cwd=cwd,
            # mitmproxy's programs do not flush what they say; ours must.
            env=dict(os.environ) if is_ours else {**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> str:
        """Return the line that says so."""
        return self.wait_for(self._ready)

    def wait_for(self, text: str) -> str:
        """Return the first line with a text in it, once it is there."""

        def line() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._has_said:
            self._has_said.wait_for(lambda: line() or self._is_over, READY_WITHIN_S)
        found = line()
        assert found is not None, self.lines
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        try:
            return self.popen.wait(STOPS_WITHIN_S)
        finally:
            self.popen.kill()
            self.popen.wait()
            self._reader.join()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as lines:
            for line in lines:
                with self._has_said:
                    self.lines.append(line.rstrip())
                    self._has_said.notify_all()
        with self._has_said:
            self._is_over = True
            self._has_said.notify_all()


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass
class Server:
    """A server and where it listens."""

    process: Process
    port: int
    ready: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Send one request on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=READY_WITHIN_S)) as connection:
            connection.request(method, path, body, headers or {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())


@dataclass
class Collector(Server):
    log: Path

    def received(self) -> list[dict[str, Any]]:
        """What it received, in order, as far as it is written.

        A reader beside the writer may see the first pages of a line before the others.
        """
        lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]


@contextmanager
def serving(command: list[str], cwd: Path, ready: str = "listening on", ends_with: int = 0) -> Iterator[Server]:
    """Run a server; at the end it stops well, or with the code expected."""
    process = Process(command, cwd, ready)
    try:
        line = process.wait_until_ready()
        address = line.partition("listening on ")[2] or line.partition("listening at ")[2]
        port = int(address.split()[0].rstrip("./").rpartition(":")[2])
        yield Server(process, port, line)
    finally:
        code = process.stop()
    assert code == ends_with, process.output


@contextmanager
def collector(cwd: Path, *options: str, name: str = "collector") -> Iterator[Collector]:
    log = cwd / f"{name}.jsonl"
    with serving([COMMAND, "collector", *ANY_PORT, "--log", str(log), *options], cwd) as server:
        yield Collector(server.process, server.port, server.ready, log)


@contextmanager
def recorder(cwd: Path, upstream: str, store_url: str, *options: str, ends_with: int = 0) -> Iterator[Server]:
    command = [COMMAND, "record", "--upstream", upstream, *ANY_PORT, "--store", store_url, *options]
    with serving(command, cwd, ends_with=ends_with) as server:
        yield server


@contextmanager
def mitmdump(cwd: Path, upstream: str, store_url: str, *options: str) -> Iterator[Server]:
    """The same recorder as an ordinary addon."""
    path = subprocess.run([COMMAND, "addon-path"], capture_output=True, text=True, check=True).stdout.strip()
    mode = f"reverse:{upstream}@127.0.0.1:0"
    command = [str(BIN / "mitmdump"), "-s", path, "--mode", mode, "--set", f"tape_store={store_url}", *options]
    with serving([*command, "--set", f"confdir={cwd}"], cwd, ready="listening at") as server:
        yield server


def hang(pid: int) -> None:
    """Stop a process as a machine does that has no memory left; return when none of its threads runs any more.

    Raises:
        ProcessLookupError: There is no such process.
    """
    os.kill(pid, signal.SIGSTOP)
    until_s = time.monotonic() + STOPS_WITHIN_S
    # The signal reaches a thread when that next leaves the kernel, which on a busy machine takes its time.
    while not all(_state(stat) in "TXZ" for stat in Path(f"/proc/{pid}").glob("task/*/stat")):
        assert time.monotonic() < until_s, f"process {pid} goes on"
        time.sleep(0.001)


def _state(stat: Path) -> str:
    try:
        return stat.read_text(encoding="utf-8").rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def run(*arguments: str, cwd: Path | None = None, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    return forking.run([COMMAND, *arguments], cwd=cwd, text=True, timeout=timeout_s)


def on_terminal(*arguments: str, columns: int = 80, code: int = 0, plain: bool = True, **variables: str) -> list[str]:
    """Run a command of ours on a terminal of so many columns; return the lines that it shows.

    Args:
        plain: Whether to leave out colours and what moves the cursor.
        **variables: Of the environment.
    """
    import fcntl  # none of these is on Windows
    import pty
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"} | variables
    shown = b""
    with forking.Popen([COMMAND, *arguments], env=env, stdin=child, stdout=child, stderr=child) as process:
        os.close(child)
        with suppress(OSError):  # the end of a terminal
            while piece := os.read(parent, 65536):
                shown += piece
        ended_with = process.wait(READY_WITHIN_S)
    os.close(parent)
    text = shown.decode()
    assert ended_with == code, text
    return (re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text) if plain else text).splitlines()


def printed(*arguments: str, code: int = 0, cwd: Path | None = None) -> Any:
    """Run a command of ours with ``--json`` and return the document."""
    done = run(*arguments, "--json", cwd=cwd)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)
