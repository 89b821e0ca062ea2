"""Run a user's command as a shell does: it has our streams and our terminal, and signals reach it first."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from proxy_addon.errors import SettingsError
from proxy_addon.process import strays
from proxy_addon.process.signals import ENDING, SAME_S

GRACE_S = 5.0
"""How long a command that was sent a signal may take to end; then it is killed."""
_AGAIN_S = 2.0
"""Two times Ctrl-C within this time kill a command that does not end by one."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended.

    Attributes:
        code: Its exit code; 128 + N if signal N ended it, as in a shell.
        interrupted_by: The number of the signal that told us to end it, or SIGINT if it failed after Ctrl-C on its
            terminal; None if it ended by itself.
    """

    code: int
    interrupted_by: int | None = None


def find(name: str) -> str:
    """Return the path of a command.

    Raises:
        SettingsError: There is no such command, or it may not be run.
    """
    found = shutil.which(name)
    if found is not None:
        return found
    if os.sep in name and Path(name).exists():
        what = "is a folder" if Path(name).is_dir() else "may not be run"
        raise SettingsError(
            f"{name} {what}", hint=f"make it executable, as with 'chmod +x {name}', or run it by another"
        )
    raise SettingsError(
        f"command not found: {name}", hint="the command stands after --, with its arguments, as in -- pytest tests"
    )


def run(command: Sequence[str], env: Mapping[str, str], *, to_stderr: bool = False) -> Ending:
    """Run a command to its end, and then, on Linux, end what it has started and left running.

    Call it in the main thread. The command reads and writes our streams itself, so that it finds the terminal that it
    expects.

    Ctrl-C on a terminal reaches the command as it reaches us, and what follows is up to it: a debugger goes on. Twice
    within `_AGAIN_S`, it ends the command. Any other signal that tells us to end is passed on; a command that has not
    ended after `GRACE_S`, or when the next signal comes, is killed.

    Args:
        command: With its arguments.
        env: All of its environment.
        to_stderr: Whether what it writes to stdout goes to our stderr, because our stdout is for something else.

    Raises:
        SettingsError: The command cannot be started.
    """
    relay = _Relay()
    descendants = strays.Descendants()
    with relay.handling(), descendants.adopted():
        try:
            stdout = sys.stderr.fileno() if to_stderr else None
            process = subprocess.Popen(command, env=env, stdout=stdout)  # noqa: S603  # the user's own command
        except OSError as e:
            raise SettingsError(
                f"cannot run {command[0]}: {e.strerror}", hint="a script needs a first line like #!/bin/sh"
            ) from e
        descendants.reap(process.pid)
        relay.begin(process)
        code = process.wait()
        relay.end()
        strays.end(descendants.running, at_once=relay.has_killed)
    interrupted_by = signal.SIGINT if code and relay.was_pressed else relay.interrupted_by
    return Ending(code if code >= 0 else 128 - code, interrupted_by)


class _Relay:
    """Passes signals on to a command."""

    def __init__(self) -> None:
        self.interrupted_by: int | None = None
        self.has_killed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._first_s = 0.0
        self._pressed_s = float("-inf")
        self._killing = threading.Timer(GRACE_S, self._kill)
        self._killing.daemon = True

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Get the signals that tell us to end, except those that are ignored, until the block ends."""
        before = {number: signal.getsignal(number) for number in ENDING}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._receive)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def was_pressed(self) -> bool:
        """Whether Ctrl-C reached the command from its terminal."""
        return self._pressed_s > float("-inf")

    def begin(self, process: subprocess.Popen[bytes]) -> None:
        """Pass signals on to this process, also one that came while it was started."""
        self._process = process
        if self.interrupted_by is not None:
            process.send_signal(self.interrupted_by)

    def end(self) -> None:
        """Note that the process has ended."""
        self._killing.cancel()

    def _receive(self, number: int, _: FrameType | None) -> None:
        now_s = time.monotonic()
        if number == signal.SIGINT and _is_in_front():
            if SAME_S < now_s - self._pressed_s < _AGAIN_S:
                self._kill()
            self._pressed_s = now_s
        elif self.interrupted_by is None:
            self.interrupted_by, self._first_s = number, now_s
            if self._process is not None:
                self._process.send_signal(number)
            self._killing.start()
        elif now_s - self._first_s > SAME_S:
            self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            self.has_killed = True
            self._process.kill()


def _is_in_front() -> bool:
    """Whether our process group, with the command in it, is the one that the terminal sends Ctrl-C to."""
    with suppress(OSError, AttributeError):  # there is no terminal, or this is Windows
        terminal = os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY)
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        finally:
            os.close(terminal)
    return False
