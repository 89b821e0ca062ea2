"""Processes of a demo: started, waited for by what they say, and ended with it."""

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
"""A recorder takes up to ten seconds to bring in what is under way."""


class ProcessFailed(SessiontapeError):
    """A process of the demo did not do what it should; the message has what it said."""


class Server:
    """A server of ours in a process of its own."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.url = ""
        self._name = name
        self._process = process
        self._said: list[str] = []
        self._ready = threading.Event()
        # A pipe that nobody reads would stop the one who writes into it.
        self._reader = threading.Thread(target=self._read, name=f"output of {name}", daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Wait until it accepts connections; then `url` is where.

        Raises:
            ProcessFailed: It ended, or took too long.
        """
        if not self._ready.wait(READY_WITHIN_S) or not self.url:
            raise ProcessFailed(f"{self._name} did not start: {self._last_words()}")

    def stop(self) -> None:
        """End it, in good order if it can; when this returns or raises, it is gone.

        Raises:
            ProcessFailed: It did not end, or not well.
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
        self._ready.set()  # it has ended: no use in waiting

    def _last_words(self) -> str:
        return " / ".join(self._said[-3:]) or "it said nothing"


class Workplace:
    """Where the demo's processes run: a folder, and an environment without the user's own settings."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Make a workplace.

        Args:
            settings: Variables of the environment to add.
        """
        self._folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("SESSIONTAPE_")}
        # Where recorders say that they run: with the folder that goes too.
        self._environment |= {"XDG_RUNTIME_DIR": str(folder), **settings}

    @contextmanager
    def server(self, *arguments: str) -> Iterator[Server]:
        """Run a server; at the end it is ended, well if nothing else went wrong."""
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
            # What went wrong is told, and not how a server that Ctrl-C had reached too took the second signal.
            with suppress(ProcessFailed):
                server.stop()
            raise
        server.stop()

    def run(self, *arguments: str) -> int:
        """Run a command of ours in sight of the user; return its exit code."""
        return self._run(_command(arguments))

    def module(self, *arguments: str) -> int:
        """Run a Python module in sight of the user; return its exit code."""
        return self._run([sys.executable, "-m", *arguments])

    def ask(self, *arguments: str) -> str:
        """Run a command of ours and return what it prints.

        Raises:
            ProcessFailed: It ended with another code than 0.
        """
        done = subprocess.run(
            _command(arguments), cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ProcessFailed(f"{arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _run(self, command: Sequence[str]) -> int:
        # One stream, so that what a command says stands below it wherever the output goes.
        return subprocess.run(
            command, cwd=self._folder, env=self._environment, stderr=subprocess.STDOUT, check=False
        ).returncode


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "proxy_addon", *arguments]
