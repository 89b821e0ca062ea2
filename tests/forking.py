"""Start processes of our command quickly: a server that has imported everything forks for each of them.

Such a process is like any other: it has its own pid, files, environment, signals and end. Forking saves the second that
an interpreter needs to import a proxy and a database. The tests of the installed command and of the demo start
the command in the ordinary way.

`Popen` and `run` are like those of `subprocess`, with only what the tests need.
"""

from __future__ import annotations

import atexit
import io
import json
import logging
import os
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from proxy_addon.testing import recorders
from tests import leftovers

_IMPORTED = (
    "proxy_addon.ui.server",
    "proxy_addon.collector.server",
    "proxy_addon.recording.serving",
    "proxy_addon.testing.ahead",
    "proxy_addon.testing.forks",
    "proxy_addon.replay.fetching",
    "proxy_addon.replay.noise",
    "proxy_addon.replay.run",
    "proxy_addon.reporting.progress",
    "proxy_addon.reporting.run_files",
    "proxy_addon.reporting.plans",
    "proxy_addon.reporting.checks",
    "proxy_addon.reporting.tables",
    "proxy_addon.reporting.timeline",
    "proxy_addon.files.settings",
    "proxy_addon.files.changes",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "storage.migrate",
    "storage.opening",
    "uvloop",
)
_INGEST = "ingest"
"""What stands in the place of a program's name to become ingest instead of the command."""
_PATIENCE_S = 0.05
"""How long a thread that waits for the end of a process keeps others from asking."""
_STATUS = struct.Struct("!i")


class Popen:
    """A process of ours, made by the server of this test process."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        text: bool = False,
        start_new_session: bool = False,
    ) -> None:
        self.args = list(command)
        self.returncode: int | None = None
        opened: list[int] = []
        self.stdin, child_in = _stream(stdin, "w", 0, opened, text=text)
        self.stdout, child_out = _stream(stdout, "r", 1, opened, text=text)
        if stderr == subprocess.STDOUT:
            self.stderr, child_err = None, child_out
        else:
            self.stderr, child_err = _stream(stderr, "r", 2, opened, text=text)
        self._lock = threading.Lock()
        self._status, status = os.pipe()
        opened.append(status)
        order = {
            "argv": self.args,
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "new_session": start_new_session,
        }
        try:
            self.pid = _server().fork(order, [child_in, child_out, child_err, status])
        finally:
            for each in opened:
                os.close(each)

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Write to its input, read all its output, and wait for its end."""
        until_s = None if timeout is None else time.monotonic() + timeout
        read: dict[str, Any] = {}
        threads = [
            threading.Thread(target=lambda name=name, file=file: read.__setitem__(name, file.read()), daemon=True)
            for name, file in (("stdout", self.stdout), ("stderr", self.stderr))
            if file is not None
        ]
        for thread in threads:
            thread.start()
        if self.stdin is not None:
            with suppress(BrokenPipeError), self.stdin:
                if input:
                    self.stdin.write(input)
        for thread in threads:
            thread.join(None if until_s is None else max(0.0, until_s - time.monotonic()))
            if thread.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        for file in (self.stdout, self.stderr):
            if file is not None:
                file.close()
        self.wait(None if until_s is None else max(0.0, until_s - time.monotonic()))
        return read.get("stdout"), read.get("stderr")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        for file in (self.stdout, self.stderr, self.stdin):
            if file is not None:
                file.close()
        self.wait()

    def _ended(self, timeout_s: float | None) -> int | None:
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self.returncode is None:
            left_s = _PATIENCE_S if until_s is None else min(_PATIENCE_S, until_s - time.monotonic())
            with self._lock:  # another thread may be waiting as well
                if self.returncode is None and select.select([self._status], [], [], max(0.0, left_s))[0]:
                    (self.returncode,) = _STATUS.unpack(os.read(self._status, _STATUS.size))
                    os.close(self._status)
                    self._status = -1
            if until_s is not None and time.monotonic() >= until_s:
                break
        return self.returncode

    def __del__(self) -> None:
        if getattr(self, "_status", -1) >= 0:
            os.close(self._status)


def run(
    command: Sequence[str], *, input: Any = None, timeout: float | None = None, text: bool = False, **how: Any
) -> subprocess.CompletedProcess[Any]:
    """Run a command of ours to its end, and return its output."""
    stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
    process = Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text, **how)
    with process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def ingest(arguments: Sequence[str], environment: Mapping[str, str]) -> Popen:
    """Start ingest as `proxy_addon.recording.ingesting.spawn` does."""
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    return Popen([_INGEST, *arguments], env=environment, stdin=nothing, stdout=pipe, stderr=pipe)


def _stream(asked: Any, mode: str, inherited: int, opened: list[int], *, text: bool) -> tuple[IO[Any] | None, int]:
    """Return our end of a stream, where it is a pipe, and the child's."""
    if asked is None:
        return None, inherited
    if asked == subprocess.DEVNULL:
        opened.append(os.open(os.devnull, os.O_RDWR))
        return None, opened[-1]
    if asked != subprocess.PIPE:
        return None, asked if isinstance(asked, int) else asked.fileno()
    read, write = os.pipe()
    ours, theirs = (read, write) if mode == "r" else (write, read)
    opened.append(theirs)
    return os.fdopen(ours, mode if text else f"{mode}b", encoding="utf-8" if text else None), theirs


class _Server:
    """The process that forks."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            command = [sys.executable, "-m", "tests.forking", str(theirs.fileno())]
            root = Path(__file__).parents[1]
            self._process = subprocess.Popen(command, cwd=root, pass_fds=[theirs.fileno()])
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def fork(self, order: dict[str, Any], files: list[int]) -> int:
        """Return the pid of a new process with these files as its input, output, errors and status."""
        text = json.dumps(order).encode("utf-8", "surrogatepass")
        with self._lock:
            socket.send_fds(self._socket, [len(text).to_bytes(4)], files)
            self._socket.sendall(text)
            answer = self._socket.recv(4, socket.MSG_WAITALL)
        assert len(answer) == 4, "the server that forks has died"
        return int.from_bytes(answer)


_servers: dict[int, _Server] = {}


def _server() -> _Server:
    # By pid: a test that forks must not talk over its parent's socket.
    return _servers.setdefault(os.getpid(), _servers.get(os.getpid()) or _Server())


def _serve(control: socket.socket) -> None:
    """Fork for whoever asks, and tell how each process ended, until the other end is closed."""
    import gc
    import importlib

    for name in _IMPORTED:
        importlib.import_module(name)
    from proxy_addon.cli import COMMANDS, cli

    for name in COMMANDS:
        cli.get_command(None, name)  # type: ignore[arg-type]  # asks nothing of its context
    gc.collect()
    gc.freeze()
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)  # noqa: FBT003  # the standard library's signature
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the tests
    running: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    with suppress(BlockingIOError):
                        woken.recv(4096)
                    _reap(running)
                    continue
                head, files, _, _ = socket.recv_fds(control, 4, 4)
                if not head:
                    for pid in running:
                        os.kill(pid, signal.SIGKILL)
                    return
                order = json.loads(control.recv(int.from_bytes(head), socket.MSG_WAITALL))
                pid = os.fork()
                if pid == 0:
                    for each in (*running.values(), files[3], control.fileno(), woken.fileno(), wakes.fileno()):
                        os.close(each)
                    _become(order, files[:3])
                running[pid] = files[3]
                for each in files[:3]:
                    os.close(each)
                control.sendall(pid.to_bytes(4))


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        file = running.pop(pid)
        with suppress(BrokenPipeError):
            os.write(file, _STATUS.pack(os.waitstatus_to_exitcode(status)))
        os.close(file)


class _Forks(recorders._Forks):
    """The process that recorders are forked from, itself forked from a command of ours."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        self._process = _Forked(os.fork())  # type: ignore[assignment]  # ends and is waited for like a Popen
        if self._process.pid == 0:
            try:
                _become_forks(theirs)
            finally:
                os._exit(1)
        theirs.close()


class _Forked:
    def __init__(self, pid: int) -> None:
        self.pid = pid

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)  # it is there until it is waited for

    def wait(self) -> None:
        os.waitpid(self.pid, 0)


def _become_forks(orders: socket.socket) -> None:
    from proxy_addon.testing import forks

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(os.devnull).open("r+b", buffering=0) as nothing:
        for place in (0, 1):
            os.dup2(nothing.fileno(), place)
    os.dup2(orders.fileno(), 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    logging.getLogger().handlers.clear()
    sys.argv = ["forks", "3"]
    forks.main()


def _become(order: dict[str, Any], files: list[int]) -> None:
    """Become the process that was asked for; never return."""
    code = 1
    ended: list[SystemExit] = []
    try:
        signal.set_wakeup_fd(-1)
        for number, action in (
            (signal.SIGINT, signal.default_int_handler), (signal.SIGCHLD, signal.SIG_DFL)
        ):  # fmt: skip
            signal.signal(number, action)
        if order["new_session"]:
            os.setsid()
        for place, file in enumerate(files):
            os.dup2(file, place)
        for file in files:
            if file > 2:
                os.close(file)
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["env"])
        time.tzset()  # an interpreter that starts reads TZ
        sys.argv = order["argv"]
        encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)), encoding=encoding)
        for name, file in (("stdout", 1), ("stderr", 2)):
            raw = io.BufferedWriter(io.FileIO(file, "w"))
            errors = "backslashreplace" if name == "stderr" else "strict"
            is_lines = file == 2 or os.isatty(file)
            stream = io.TextIOWrapper(raw, encoding=encoding, errors=errors, line_buffering=is_lines)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        from proxy_addon.cli import main
        from proxy_addon.ingest import process
        from proxy_addon.recording import ingesting
        from proxy_addon.testing.ahead import Spare

        if "record" in sys.argv[1:2]:
            ingesting.spawn = Spare().spawn
        leftovers.take_mark()
        recorders._Forks = _Forks  # type: ignore[misc]
        try:
            if sys.argv[0] == _INGEST:
                sys.exit(process.main(sys.argv[1:]))
            main()
            code = 0
        except SystemExit as e:
            ended.append(e)  # as at the end of an interpreter, what its frames hold is not taken apart any more
            code = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
            if isinstance(e.code, str):
                sys.stderr.write(f"{e.code}\n")
        except BaseException:  # noqa: BLE001  # as an interpreter does
            sys.excepthook(*sys.exc_info())
        threading._shutdown()  # type: ignore[attr-defined]  # what the end of an interpreter does
        atexit._run_exitfuncs()
        for output in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                output.flush()
    finally:
        os._exit(code & 0xFF)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
