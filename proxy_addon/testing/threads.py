"""A server of this process, in a thread of its own with its own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from threading import Thread


@dataclass(frozen=True, slots=True)
class _Running:
    url: str
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event


@contextmanager
def in_thread(serving: Callable[[], AbstractAsyncContextManager[str]], name: str) -> Iterator[str]:
    """Serve in a thread until the block ends; yield the URL.

    When the block ends, the server has stopped, its thread has ended and its sockets are closed.

    Args:
        serving: Called in the thread's event loop; yields the URL once connections are accepted.
        name: The thread's name.

    Raises:
        SessiontapeError: What ``serving`` raises before it yields.
    """
    begun: Future[_Running] = Future()
    # A daemon, so that a test process that never leaves the block can still end.
    thread = Thread(target=_run, args=(serving, begun), name=name, daemon=True)
    thread.start()
    try:
        running = begun.result()
    except BaseException:
        begun.add_done_callback(_stop)
        thread.join()
        raise
    try:
        yield running.url
    finally:
        _stop(begun)
        thread.join()


def _run(serving: Callable[[], AbstractAsyncContextManager[str]], begun: Future[_Running]) -> None:
    try:
        asyncio.run(_serve(serving, begun))
    except BaseException as e:
        if begun.done():
            raise
        begun.set_exception(e)


async def _serve(serving: Callable[[], AbstractAsyncContextManager[str]], begun: Future[_Running]) -> None:
    stop = asyncio.Event()
    async with serving() as url:
        begun.set_result(_Running(url, asyncio.get_running_loop(), stop))
        await stop.wait()


def _stop(begun: Future[_Running]) -> None:
    if begun.exception() is None:
        running = begun.result()
        with suppress(RuntimeError):  # its loop has ended by itself
            running.loop.call_soon_threadsafe(running.stop.set)
