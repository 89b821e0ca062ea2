"""The process that recorders are forked from.

mitmproxy takes most of a second to import. This process imports it once, then forks for each recorder that is asked
for, so that a test gets a recorder of its own, with nothing left over from another, in less than a tenth of a second.
`proxy_addon.testing.recorders` starts it, and is the other end of its socket.

Each recorder has a connection to whoever asked for it, and ends when that is closed, however it came about: none
outlives a caller that was killed. This process ends when nobody can ask it any more.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

from proxy_addon.errors import RecorderError, SessiontapeError
from proxy_addon.process import logs, signals, strays
from proxy_addon.recording import ingesting
from proxy_addon.recording.options import RecordOptions
from proxy_addon.recording.proxy import Listening
from proxy_addon.recording.serving import serve
from proxy_addon.testing.ahead import Spare
from proxy_addon.testing.recorders import Legacy, Over, Ready, Stored, Warned
from storage import migrate


def main() -> None:
    """Fork for whoever asks, until nobody can ask any more."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for recorders: the end of the connection tells enough
    new_store = migrate.new_file()
    gc.freeze()  # what was imported stays in memory that all recorders share
    gc.enable()  # `recorders` has disabled it
    while True:
        ask, files, _, _ = socket.recv_fds(orders, 1, 1)
        if not ask:
            return
        if os.fork() == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                ingesting.spawn = Spare().spawn
                record(Connection(files[0]), new_store)
            finally:
                os._exit(0)
        os.close(files[0])


def record(caller: Connection, new_store: bytes) -> None:
    """Be a recorder until the caller closes the connection.

    The caller sends `RecordOptions`, and the `Legacy` to clear away if it is killed, or None. It gets `Ready` once
    connections are accepted, then `Stored` and `Warned` as that happens, and at last `Over`, or the error for which there
    is no recorder.
    """
    options: RecordOptions
    legacy: Legacy | None
    options, legacy = caller.recv()
    lock = threading.Lock()
    url = ""

    def tell(what: object) -> None:
        with lock, suppress(OSError):  # if the caller has gone, this process ends, too
            caller.send(what)

    def ready(listening: list[Listening]) -> None:
        nonlocal url
        url = listening[0].url
        tell(Ready(url))

    logging.getLogger().addHandler(_Log(tell))
    for name in ("mitmproxy", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    signals.raise_on_signals()  # a recorder that is still starting ends in good order, too
    orphaned = threading.Event()
    try:
        threading.Thread(target=_end_with, args=(caller, orphaned), name="sessiontape-caller", daemon=True).start()
        migrate.create(options.store_url, new_store)
        tell(Over(is_complete=serve(options, ready, stored=lambda: tell(Stored()))))
    except SessiontapeError as e:
        tell(e)
    except Exception as e:  # noqa: BLE001  # the caller has to hear of everything that ends this process
        tell(RecorderError(f"the recorder failed: {e!r}"))
    finally:
        if legacy is not None and orphaned.is_set():
            _clear(legacy, url)


def _clear(legacy: Legacy, url: str) -> None:
    if url:
        strays.end_marked(legacy.variable, url)
    if legacy.folder is not None:
        shutil.rmtree(legacy.folder, ignore_errors=True)


def _end_with(caller: Connection, orphaned: threading.Event) -> None:
    """End this process in good order when the caller says so, or its end of the connection is closed."""
    try:
        caller.recv()
    except (OSError, EOFError):
        orphaned.set()
    os.kill(os.getpid(), signal.SIGTERM)


class _Log(logging.Handler):
    """Tells the caller of warnings and errors."""

    def __init__(self, tell: Callable[[object], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, logs.TOLD, False):
            self._tell(Warned(logs.text_line(record)))
