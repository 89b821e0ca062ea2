"""Work on pieces in this process, or in several on this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice

_AHEAD = 2
"""How many pieces of work wait for each process, so that none is idle and few results are kept."""


def processors() -> int:
    """Return how many processors this process may use."""
    return os.process_cpu_count() or 1 if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0))


def one_by_one[Piece, Part](work: Callable[[Piece], Part], pieces: Iterable[Piece]) -> Iterator[Part]:
    """Yield what becomes of each piece, in their order, in this process."""
    return map(work, pieces)


def in_processes[Piece, Part](work: Callable[[Piece], Part], pieces: Iterable[Piece], number: int) -> Iterator[Part]:
    """Yield what becomes of each piece, in their order, worked on by several processes.

    Args:
        work: Is sent to the processes, like the pieces and what becomes of them.
        number: How many processes.
    """
    # Spawned, because a fork of a process with threads or connections of a database may hang.
    with ProcessPoolExecutor(number, mp_context=multiprocessing.get_context("spawn")) as pool:
        remaining = iter(pieces)
        running: deque[Future[Part]] = deque(pool.submit(work, piece) for piece in islice(remaining, number * _AHEAD))
        try:
            while running:
                yield running.popleft().result()
                running.extend(pool.submit(work, piece) for piece in islice(remaining, 1))
        finally:
            pool.shutdown(cancel_futures=True)
