"""The pages in a process beside a recorder: how it is started, what it says when it is ready, and how it ends.

It ends when its standard input ends, so that it does not outlive the process that started it. It gets the store's URL in the
environment, because everybody can see the arguments of a process.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from proxy_addon.errors import SessiontapeError
from proxy_addon.process import logs
from proxy_addon.process.lines import Lines
from proxy_addon.process.sockets import listener

logger = logs.logger(__name__)

STORE = "SESSIONTAPE_STORE"
"""The variable with the URL of the store."""
_OPTION = "--ui"
_END_S = 4.0
"""How long the process may take to end."""
_NICE = 5


def main(arguments: Sequence[str]) -> int:
    """Serve the pages until the standard input ends; return the exit code: 2 if they cannot be served."""
    from proxy_addon.files import settings  # noqa: PLC0415  # not needed only to start the process
    from proxy_addon.ui.server import Opened, Options, run  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="python -m proxy_addon.ui", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--config", type=Path, help="settings file for the rules")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the recorder, which ends us
    with suppress(OSError):
        os.nice(_NICE)
    gc.freeze()

    def ready(opened: Opened) -> None:
        _say({"url": opened.url, "is_public": opened.is_public})

    log = Lines(sys.stderr, logs.missed_text)
    try:
        with logs.to_lines(log, as_json=False):
            options = Options(
                store_url=os.environ.get(STORE, ""),
                listen=(asked.host, asked.port),
                policy=settings.load(asked.config),
                option=_OPTION,
            )
            run(options, ready, ends_with=sys.stdin.buffer)
    except SessiontapeError as e:
        _say({"error": str(e), "hint": e.hint})
        return 2
    finally:
        log.close(0.5)
    return 0


def _say(said: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):
        print(json.dumps(said), flush=True)  # noqa: T201  # for whoever has started us


class Beside:
    """The pages beside a recorder."""

    def __init__(self, store_url: str, listen: tuple[str, int], config: Path | None) -> None:
        """Describe them; `start` starts them.

        Args:
            listen: Host and port.
            config: The settings file; None for that of the current folder.
        """
        host, port = listen
        self._arguments = ["--host", host, "--port", str(port)]
        if config is not None:
            self._arguments += ["--config", str(config)]
        self._store_url = store_url
        self._is_ending = False
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[str, bool], object]) -> None:
        """Start them without waiting; a failure is logged.

        Args:
            ready: Called in a thread with the address to open, and whether other machines reach it. Must not block.
        """
        # In a group of its own, so that Ctrl-C on the terminal reaches the recorder alone, which then ends it.
        self._child = subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-P", "-m", "proxy_addon.ui", *self._arguments],
            env={**os.environ, STORE: self._store_url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0 if os.name == "posix" else None,
        )
        threading.Thread(target=self._hear, args=(self._child, ready), name="sessiontape-ui", daemon=True).start()

    def _hear(self, child: subprocess.Popen[bytes], ready: Callable[[str, bool], object]) -> None:
        assert child.stdout is not None
        with suppress(ValueError):  # closed while it was read
            for line in child.stdout:
                said = json.loads(line)
                if "error" in said:
                    hint = f"; {said['hint']}" if said["hint"] else ""
                    logger.error(f"cannot serve the pages: {said['error']}{hint}")
                    return
                ready(said["url"], said["is_public"])
        if not self._is_ending:
            logger.error(f"the pages stopped with exit code {child.wait()}; the recording continues")

    def end(self) -> None:
        """Stop them."""
        child = self._child
        if child is None:
            return
        self._is_ending = True
        assert child.stdin is not None
        with suppress(OSError):
            child.stdin.close()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        assert child.stdout is not None
        child.stdout.close()


def require_free(listen: tuple[str, int]) -> None:
    """Check that the pages can be served at an address, before anything is started.

    Raises:
        SettingsError: The address cannot be listened on.
    """
    listener(*listen, _OPTION).close()
