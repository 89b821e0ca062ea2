"""Threads for what blocks, beside an event loop, that keep no process from ending.

Python waits at the end for all threads of its own pool. What they wait for may never come, or late: a name server that does
not answer takes half a minute, and nothing can interrupt it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

MOST = 32
"""How many threads of an event loop there are at most; what comes then waits for one of them."""


def run[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does, but wait for no thread at the end."""

    async def main() -> T:
        asyncio.get_running_loop().set_default_executor(_Pool())
        return await coroutine

    return asyncio.run(main())


async def aside[**P, T](function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread of its own, whatever the others are waiting for, and return what it returns."""
    future: Future[T] = Future()
    _start(lambda: _carry_out(future, lambda: function(*args, **kwargs)))
    return await asyncio.wrap_future(future)


class _Pool(ThreadPoolExecutor):  # asyncio takes no other class
    def __init__(self) -> None:
        super().__init__(1)  # of which no thread is ever started
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    def submit[**P, T](self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function run; called in the thread of the event loop."""
        future: Future[T] = Future()
        self._waiting.put((future, lambda: function(*args, **kwargs)))
        if not self._idle.acquire(blocking=False) and self._started < MOST:
            self._started += 1
            _start(self._work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the threads end with the process."""

    def _work(self) -> None:
        while True:
            _carry_out(*self._waiting.get())
            self._idle.release()


def _start(target: Callable[[], object]) -> None:
    threading.Thread(target=target, name="sessiontape-aside", daemon=True).start()


def _carry_out(future: Future[Any], call: Callable[[], Any]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(call())
        except BaseException as e:  # noqa: BLE001  # whoever waits gets it
            future.set_exception(e)
