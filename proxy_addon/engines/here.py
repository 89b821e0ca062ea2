"""Work on pieces in this process, or in several on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import resource_tracker

from proxy_addon.errors import SettingsError

_AHEAD = 2
"""How many pieces of work wait for each process, so that none is idle and few results are kept."""


def processors() -> int:
    """Return how many processors this process may use."""
    return os.process_cpu_count() or 1 if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0))


def one_by_one[Piece, Part](work: Callable[[Piece], Part], pieces: Iterable[Piece]) -> Iterator[Part]:
    """Yield what becomes of each piece, in their order, in this process."""
    return map(work, pieces)


def in_processes[Piece, Part](work: Callable[[Piece], Part], pieces: Iterable[Piece], number: int) -> Generator[Part]:
    """Yield what becomes of each piece, in their order, worked on by several processes.

    Args:
        work: Is sent to the processes, like the pieces and what becomes of them.
        number: How many processes.

    Raises:
        SettingsError: A process died.
    """
    others = {each.pid for each in multiprocessing.active_children()}
    # Spawned, because a fork of a process with threads or connections of a database may hang.
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(number, mp_context=spawning, initializer=_end_with_parent) as pool:
        remaining = iter(pieces)
        running: deque[Future[Part]] = deque()

        def submit(number: int) -> None:
            with deaf():
                running.extend(pool.submit(work, piece) for piece in islice(remaining, number))

        try:
            submit(number * _AHEAD)
            while running:
                yield running.popleft().result()
                submit(1)
        except BrokenProcessPool as e:
            raise SettingsError(
                "a process that read the store died",
                hint="most often, there was too little memory",
            ) from e
        except BaseException:  # nobody wants what is still worked on, which may take long
            for process in multiprocessing.active_children():
                if process.pid not in others:
                    process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is killed, which cannot end it any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def deaf() -> Iterator[None]:
    """Start threads and processes that hear no Ctrl-C, which a terminal sends to them, too: it is for us to end them."""
    resource_tracker.ensure_running()  # it would let signals through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
