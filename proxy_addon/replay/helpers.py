"""Run work beside the code that sends, one piece at a time: in a thread, or in a separate process for long runs."""

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
    """A kind of work. Before its first call, it can be sent to another process."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do one piece of work."""
        ...

    def close(self) -> None:
        """Release resources."""
        ...


def collect_seldom() -> None:
    """Collect cyclic garbage less often: a replay produces almost none, and collecting took a tenth of its time."""
    gc.freeze()
    gc.set_threshold(50_000)


@contextmanager
def beside[**P, T](work: Work[P, T], *, in_process: bool) -> Iterator[Callable[P, Future[T]]]:
    """Yield a function that submits a piece of work; pieces are done in the order of the calls.

    A piece fails with `BrokenExecutor` if the process that does it has died.

    Args:
        in_process: Use a separate process, which takes a second to start, instead of a thread.
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
        except BrokenExecutor as e:  # the process has died; report it through the future, as for pieces in progress
            failed: Future[T] = Future()
            failed.set_exception(e)
            return failed

    try:
        yield submit
    finally:
        executor.shutdown(cancel_futures=True)
        work.close()


_there: list[Work[..., Any]] = []
"""The work of this process, if it was started for work; otherwise empty."""


def _begin_there(work: Work[..., Any]) -> None:
    collect_seldom()
    # Ctrl-C, or a signal to the process group, reaches this process too. The process that sends handles it.
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
    """Wait for a piece of work that was submitted to `beside`.

    Raises:
        StorageUnavailable: The process that does the work has died.
    """
    try:
        return await asyncio.wrap_future(future)
    except BrokenExecutor as e:
        raise helper_died(e) from e


def helper_died(error: Exception) -> StorageUnavailable:
    """Return the error for a helper process that has died."""
    return StorageUnavailable(
        f"a helper process of the replay has died: {error}", hint="was it killed, or out of memory?"
    )
