"""The ingest process: its arguments, its lock, what it says when it is ready, and its end.

The store's URL comes in the environment, because everybody can see the arguments of a process.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from proxy_addon.errors import SessiontapeError, StorageUnavailable
from proxy_addon.ingest.filing import Filer
from proxy_addon.ingest.keeping import Keeping
from proxy_addon.ingest.reaching import Reaching
from proxy_addon.ingest.running import Ingest, Parent
from proxy_addon.ingest.telling import Telling, ToRecorders
from proxy_addon.journal import folders
from proxy_addon.journal.alone import Busy, alone
from proxy_addon.journal.channel import Server
from proxy_addon.journal.reading import Folder, living, waiting
from proxy_addon.process import logs

logger = logs.logger(__name__)

STORE = "SESSIONTAPE_STORE"
"""The variable with the URL of the store."""
END_S = 1.5
"""How long the end may take after a signal. A store that hangs would keep us; what is cut off is filed by the next."""


def main(arguments: Sequence[str]) -> int:
    """Run the ingest process; return its exit code: 2 if the store cannot be used, 0 otherwise.

    Call it in the main thread. The work is done in another one: whatever the store keeps that waiting for, signals are heard.
    """
    parser = argparse.ArgumentParser(prog="python -m proxy_addon.ingest", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the journal")
    parser.add_argument("--ready-fd", type=int, help="where to say that it is ready: one line of JSON")
    parser.add_argument("--parent", type=int, help="the process that must have ended before this one ends")
    parser.add_argument("--nice", type=int, default=0, help="by how much to lower the priority")
    parser.add_argument("--keep-days", type=float, help="for how long to keep what was recorded; without it, for ever")
    options = parser.parse_args(arguments)
    with suppress(OSError):
        os.setpgid(0, 0)  # Ctrl-C on the recorder's terminal is not meant for us
    with suppress(OSError):
        os.nice(options.nice)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    process = _Process(options.folder, Parent(options.parent), _Ready(options.ready_fd), Keeping(options.keep_days))
    process.start()
    try:
        signal.signal(signal.SIGTERM, _end)
        process.join()
    except _Ended:
        process.end()
    if process.is_alive():
        os._exit(0)  # what is cut off is filed by the next
    return process.code


class _Ended(BaseException):
    """SIGTERM has come."""


def _end(_: int, __: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Ended


class _Process(threading.Thread):
    """The work of the process.

    Attributes:
        code: The exit code, once it is done.
    """

    def __init__(self, folder: Path, parent: Parent, ready: _Ready, keeping: Keeping) -> None:
        super().__init__(name="sessiontape-ingest", daemon=True)
        self._folder = folder
        self._parent = parent
        self._ready = ready
        self._keeping = keeping
        self._is_ending = False
        self.code = 1

    def end(self) -> None:
        """Have the batch in hand filed, and be done, within `END_S` if possible."""
        self._is_ending = True
        self.join(END_S)

    def run(self) -> None:
        """Do the work, and set the exit code."""
        try:
            folders.prepare(self._folder)
            with alone(self._folder):
                self._work()
            self.code = 0
        except Busy:
            self._ready.say({"busy": True})
            self.code = 0
        except SessiontapeError as e:
            self._ready.say({"error": str(e), "hint": e.hint})
            self.code = 2
        except OSError as e:
            self._ready.say({"error": f"cannot use the journal in {self._folder}: {e}", "hint": "may you write there?"})
            self.code = 2

    def _work(self) -> None:
        """File the folder.

        Raises:
            SessiontapeError: The store cannot be used, and was never reached before, or is not for us.
        """
        reaching = Reaching(os.environ.get(STORE, ""))
        with ExitStack() as closing_all:
            closing_all.enter_context(closing(reaching))
            said = self._prepare(reaching)
            read = closing_all.enter_context(closing(Folder(self._folder)))
            # Only now, so that whoever reaches us finds the note which store this is.
            server = closing_all.enter_context(closing(Server(self._folder)))
            lines = ToRecorders(server)
            with _logging_to(lines):
                filer = Filer(self._folder, read, reaching, Telling(server))
                # What has been made so far stays, and what is made from now on seldom has circles.
                gc.freeze()
                gc.set_threshold(100_000, 20, 100)
                self._ready.say(said)
                if reaching.store.encoding != "utf-8":
                    logger.warning(
                        f"{reaching.store.label} is encoded in {reaching.store.encoding}: lists show ? for characters that it "
                        "lacks; bodies, paths and headers are stored exactly"
                    )
                Ingest(filer, server, lines, self._parent, self._keeping).run(lambda: self._is_ending)

    def _prepare(self, reaching: Reaching) -> dict[str, Any]:
        """Reach the store, and note in the folder that it is its store; return what to say when all is ready.

        Raises:
            SessiontapeError: As of `_work`; or the journal of another store is in the folder.
        """
        path, label = reaching.store.path, reaching.store.label
        if not folders.is_of(self._folder, path, label):
            if waiting(self._folder) is not None or living(self._folder):
                folders.require_of(self._folder, path, label)
            folders.forget_store(self._folder)
        try:
            reaching.prepare()
        except StorageUnavailable as e:
            if not folders.was_reached(self._folder):
                raise
            return {"ready": True, "away": str(e)}
        folders.mark_reached(self._folder, path, label)
        return {"ready": True}


@contextmanager
def _logging_to(lines: ToRecorders) -> Iterator[None]:
    root = logging.getLogger()
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of each rollback
    before = root.level
    root.addHandler(lines)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(lines)
        root.setLevel(before)


class _Ready:
    """The end of the pipe where the recorder waits for us to be ready."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def say(self, what: Mapping[str, Any]) -> None:
        """Say it, once; nothing can be said afterwards."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        with suppress(OSError):  # nobody listens any more
            os.write(descriptor, json.dumps(what).encode() + b"\n")
        with suppress(
            OSError
        ):  # what is opened next must not take its place: libraries write to 1 what people should see
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, descriptor)
            os.close(nothing)
