"""Work in threads that the server does not wait for when it stops, so that it stops at once.

The loop joins the threads of asyncio's executor when it closes, however long they still take.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

MOST = 8
"""How many functions run at once; further ones wait."""


class Ending(Exception):
    """The server is stopping."""


class Threads:
    """Runs slow functions in threads, for one event loop."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(MOST)
        self._doing: set[asyncio.Future[Any]] = set()
        self._is_over = False

    async def do[T](self, work: Callable[[], T]) -> T:
        """Call a function in a thread and return its result.

        Raises:
            Ending: The server is stopping; the function may still run, but its result is lost.
        """
        async with self._room:
            if self._is_over:
                raise Ending
            loop = asyncio.get_running_loop()
            done: asyncio.Future[T] = loop.create_future()

            def tell(how: Callable[[], None]) -> None:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(lambda: None if done.done() else how())

            def run() -> None:
                try:
                    result = work()
                except BaseException as e:  # noqa: BLE001  # it is raised where the result is awaited
                    tell(partial(done.set_exception, e))
                else:
                    tell(partial(done.set_result, result))

            self._doing.add(done)
            threading.Thread(target=run, name="sessiontape-reading", daemon=True).start()
            try:
                return await done
            finally:
                self._doing.discard(done)

    def end(self) -> None:
        """Let everybody go who waits."""
        self._is_over = True
        for done in self._doing:
            if not done.done():
                done.set_exception(Ending())
