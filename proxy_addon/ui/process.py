"""The pages in a process beside a recorder: how it is started, what it says when it is ready, and how it ends.

It ends when its standard input ends, so that it does not outlive the process that started it. It gets the store's URL
and the token in the environment, because everybody can see the arguments of a process.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
TOKEN = "SESSIONTAPE_UI_TOKEN"  # noqa: S105  # the name of a variable
"""The variable with the token that readers on other machines have to know."""
_OPTION = "--ui"
_END_S = 4.0
"""How long the process may take to end."""
_NICE = 5
AGAIN_S = (0.2, 5.0)
"""First and longest pause before the pages are started again; those that ran for longer than that did not end at once."""
_TRIES = 5
"""How often pages are started again that end at once."""


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
        _say({"url": opened.url, "port": opened.port, "is_public": opened.is_public})

    log = Lines(sys.stderr, logs.missed_text)
    try:
        with logs.to_lines(log, as_json=False):
            options = Options(
                store_url=os.environ.get(STORE, ""),
                listen=(asked.host, asked.port),
                policy=settings.load(asked.config),
                option=_OPTION,
                token=os.environ.pop(TOKEN, None),
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
    """The pages beside a recorder, which are started again when they end before it does."""

    def __init__(self, store_url: str, listen: tuple[str, int], config: Path | None) -> None:
        """Describe them; `start` starts them.

        Args:
            listen: Host and port.
            config: The settings file; None for that of the current folder.
        """
        self._host, self._port = listen
        self._config = [] if config is None else ["--config", str(config)]
        # Every process has the same token, so that pages that are open go on.
        self._environment = {STORE: store_url, TOKEN: secrets.token_urlsafe(24)}
        self._lock = threading.Lock()
        self._is_ending = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[str, bool], object]) -> None:
        """Start them without waiting; a failure is logged.

        Args:
            ready: Called once, in a thread, with the address to open and whether other machines reach it. Must not block.
        """
        threading.Thread(target=self._look_after, args=(ready,), name="sessiontape-ui", daemon=True).start()

    def _look_after(self, ready: Callable[[str, bool], object]) -> None:
        """Keep the pages running until the recorder ends, or they stop again and again as soon as they are started."""
        pause_s, longest_s = AGAIN_S
        stopped = why = ""
        is_known, tries = False, 0
        while (child := self._spawn()) is not None:
            began_s = time.monotonic()
            with child:  # which waits until it has stopped
                for said in _said(child):
                    if "error" not in said and not is_known:
                        is_known, self._port = True, said["port"]
                        ready(said["url"], said["is_public"])
                    elif "error" not in said:
                        logger.warning(f"the pages stopped {stopped}, and were started again")
                    elif is_known:
                        why = f": {said['error']}"
                    else:
                        hint = f"; {said['hint']}" if said["hint"] else ""
                        logger.error(f"cannot serve the pages: {said['error']}{hint}")
                        return
            stopped = f"with exit code {child.returncode}"
            if time.monotonic() - began_s > longest_s:
                (pause_s, _), tries = AGAIN_S, 0
            if self._is_ending.wait(pause_s):
                return
            tries += 1
            if tries > _TRIES:
                logger.error(
                    f"the pages stop as soon as they are started, the last time {stopped}{why}; the recording continues"
                )
                return
            pause_s = min(2 * pause_s, longest_s)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """Start a process; None if the recorder is ending."""
        with self._lock:
            if self._is_ending.is_set():
                return None
            arguments = ["--host", self._host, "--port", str(self._port), *self._config]
            # In a group of its own, so that Ctrl-C on the terminal reaches the recorder alone, which then ends it.
            self._child = subprocess.Popen(  # noqa: S603  # our own module
                [sys.executable, "-P", "-m", "proxy_addon.ui", *arguments],
                env={**os.environ, **self._environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0 if os.name == "posix" else None,
            )
            return self._child

    def end(self) -> None:
        """Stop them."""
        self._is_ending.set()
        with self._lock:
            child = self._child
        if child is None:
            return
        assert child.stdin is not None
        with suppress(OSError):
            child.stdin.close()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _said(child: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Yield what a process says, until it has ended."""
    assert child.stdout is not None
    for line in child.stdout:
        yield json.loads(line)


def require_free(listen: tuple[str, int]) -> None:
    """Check that the pages can be served at an address, before anything is started.

    Raises:
        SettingsError: The address cannot be listened on.
    """
    listener(*listen, _OPTION).close()
