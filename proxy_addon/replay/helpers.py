"""Work beside the one process that sends: in a thread, or for long runs in a process of its own, one piece at a time."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any, Protocol

from proxy_addon.errors import StorageUnavailable
from proxy_addon.process.signals import ENDING


class Work[**P, T](Protocol):
    """What is done; it can be handed to another process before it has begun."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a piece of it."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


def collect_seldom() -> None:
    """Look for cyclic garbage less often: a replay makes next to none, and looking took a tenth of its time."""
    gc.freeze()
    gc.set_threshold(50_000)


@contextmanager
def beside[**P, T](work: Work[P, T], *, in_process: bool) -> Iterator[Callable[P, Future[T]]]:
    """Give a function that has a piece of work done, in the order it is called.

    A piece fails with `BrokenExecutor` where that process has died.

    Args:
        in_process: In a process of its own, which takes a second to start.
    """
    executor: Executor
    do: Callable[..., T]
    if in_process:
        spawn = multiprocessing.get_context("spawn")
        executor, do = ProcessPoolExecutor(1, spawn, initializer=_begin_there, initargs=(work,)), _do_there
    else:
        executor, do = ThreadPoolExecutor(1), work

    def submit(*args: P.args, **kwargs: P.kwargs) -> Future[T]:
        try:
            return executor.submit(do, *args, **kwargs)
        except BrokenExecutor as e:  # its process has died; what is asked for tells, like what it was at
            failed: Future[T] = Future()
            failed.set_exception(e)
            return failed

    try:
        yield submit
    finally:
        executor.shutdown(cancel_futures=True)
        work.close()


_there: list[Work[..., Any]] = []
"""The work of a process that was started for it; empty elsewhere."""


def _begin_there(work: Work[..., Any]) -> None:
    collect_seldom()
    # What is meant for the process that sends reaches us too: Ctrl-C, or a signal to the group. It knows what to do.
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    _there.append(work)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _do_there(*args: Any, **kwargs: Any) -> Any:
    return _there[0](*args, **kwargs)


async def outcome[T](future: Future[T]) -> T:
    """Wait for a piece of work that is done beside.

    Raises:
        StorageUnavailable: The process that did it has died.
    """
    try:
        return await asyncio.wrap_future(future)
    except BrokenExecutor as e:
        raise helper_died(e) from e


def helper_died(error: Exception) -> StorageUnavailable:
    """Return what is told of a helper process that has ended."""
    return StorageUnavailable(f"a process beside the replay has died: {error}", hint="was it killed, or out of memory?")
