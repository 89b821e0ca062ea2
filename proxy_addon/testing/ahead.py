"""A process that is forked ahead and becomes ingest when that is asked for, without the time that imports take.

The recorder itself cannot fork for it: it has threads by then.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Never

from proxy_addon.ingest.process import main
from proxy_addon.recording import ingesting
from proxy_addon.recording.ingesting import Child


class Spare:
    """The process, which ends unused if its parent does."""

    def __init__(self) -> None:
        """Fork. Call it while this process has one thread."""
        self._orders, theirs = socket.socketpair()
        self._otherwise = ingesting.spawn
        with theirs:
            self._pid = os.fork()
            if self._pid == 0:
                self._orders.close()
                _become_ingest(theirs)

    def spawn(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Return it as ingest. It can be used once; from then on, processes are started in the ordinary way."""
        pid, self._pid = self._pid, 0
        if not pid:
            return self._otherwise(arguments, environment)
        pipes = [os.pipe(), os.pipe()]
        order = json.dumps({"arguments": list(arguments), "environment": dict(environment)})
        text = order.encode("utf-8", "surrogatepass")
        socket.send_fds(self._orders, [len(text).to_bytes(4)], [write for _, write in pipes])
        self._orders.sendall(text)
        self._orders.close()
        for _, write in pipes:
            os.close(write)
        stdout, stderr = (os.fdopen(read, "rb") for read, _ in pipes)
        return _Forked(pid, stdout, stderr)


class _Forked:
    def __init__(self, pid: int, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self.pid = pid
        self.stdout: IO[bytes] | None = stdout
        self.stderr: IO[bytes] | None = stderr
        self._code: int | None = None
        self._lock = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        until_s = None if timeout is None else time.monotonic() + timeout
        pause_s = 0.0005
        while True:
            with self._lock:
                if self._code is None:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                    if pid:
                        self._code = os.waitstatus_to_exitcode(status)
                if self._code is not None:
                    return self._code
            if until_s is not None and time.monotonic() > until_s:
                raise subprocess.TimeoutExpired("ingest", timeout or 0)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.05)

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        with self._lock, suppress(ProcessLookupError):
            if self._code is None:
                os.kill(self.pid, number)


def _become_ingest(orders: socket.socket) -> Never:
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for place in range(3):
            os.dup2(nothing, place)  # whoever reads the parent's output must not wait for this process
        os.close(nothing)
        head, files, _, _ = socket.recv_fds(orders, 4, 2)
        if not head:
            os._exit(0)
        order = json.loads(orders.recv(int.from_bytes(head), socket.MSG_WAITALL))
        orders.close()
        os.setpgid(0, 0)
        for place, file in enumerate(files, 1):
            os.dup2(file, place)
            os.close(file)
        os.environ.clear()
        os.environ.update(order["environment"])
        code = main(order["arguments"])
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except BaseException:  # noqa: BLE001  # as an interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)
