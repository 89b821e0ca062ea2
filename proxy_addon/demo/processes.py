"""Start the processes of a demo, wait until they are ready, and end them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from proxy_addon.errors import SessiontapeError

READY = "listening on "
READY_WITHIN_S = 30
STOPS_WITHIN_S = 15
"""A recorder takes up to ten seconds to finish requests in flight."""


class ProcessFailed(SessiontapeError):
    """A process of the demo failed; the message contains its output."""


class Server:
    """One of our servers in a separate process."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.url = ""
        self._name = name
        self._process = process
        self._said: list[str] = []
        self._ready = threading.Event()
        # A process blocks when it writes to a full pipe that nobody reads.
        self._reader = threading.Thread(target=self._read, name=f"output of {name}", daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Wait until the server accepts connections at `url`.

        Raises:
            ProcessFailed: The server ended, or took too long.
        """
        if not self._ready.wait(READY_WITHIN_S) or not self.url:
            raise ProcessFailed(f"{self._name} did not start: {self._last_words()}")

    def stop(self) -> None:
        """End the server, gracefully if possible. When this returns or raises, the process has ended.

        Raises:
            ProcessFailed: The server had to be killed, or its exit code is not 0.
        """
        self._process.terminate()
        try:
            code = self._process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired as e:
            raise ProcessFailed(f"{self._name} did not stop: {self._last_words()}") from e
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
        if code != 0:
            raise ProcessFailed(f"{self._name} ended with {code}: {self._last_words()}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._said.append(line.rstrip())
                if line.startswith(READY):
                    self.url = line.removeprefix(READY).split()[0]
                    self._ready.set()
        self._ready.set()  # the process has ended, so nobody should wait

    def _last_words(self) -> str:
        return " / ".join(self._said[-3:]) or "it said nothing"


class Workplace:
    """Where the demo's processes run: a folder, and an environment without the user's settings."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Make a workplace.

        Args:
            settings: Environment variables to add.
        """
        self._folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("SESSIONTAPE_")}
        self._environment |= settings

    @contextmanager
    def server(self, *arguments: str) -> Iterator[Server]:
        """Run a server until the block ends.

        Raises:
            ProcessFailed: The server did not start, or did not end well.
        """
        process = subprocess.Popen(
            _command(arguments),
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        server = Server(arguments[0], process)
        try:
            server.wait()
            yield server
        except BaseException:
            # Report the original error, not how a server that also got Ctrl-C reacted to a second signal.
            with suppress(ProcessFailed):
                server.stop()
            raise
        server.stop()

    def run(self, *arguments: str) -> int:
        """Run one of our commands with its output shown to the user; return its exit code."""
        return self._run(_command(arguments))

    def module(self, *arguments: str) -> int:
        """Run a Python module with its output shown to the user; return its exit code."""
        return self._run([sys.executable, "-m", *arguments])

    def ask(self, *arguments: str) -> str:
        """Run one of our commands and return its output.

        Raises:
            ProcessFailed: Its exit code is not 0.
        """
        done = subprocess.run(
            _command(arguments), cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ProcessFailed(f"{arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _run(self, command: Sequence[str]) -> int:
        # One stream keeps the output in order, wherever it goes.
        return subprocess.run(
            command, cwd=self._folder, env=self._environment, stderr=subprocess.STDOUT, check=False
        ).returncode


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "proxy_addon", *arguments]
