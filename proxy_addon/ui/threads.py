"""Work in threads that nobody waits for at the end, so that a server which is told to end does so at once.

Those of asyncio's executor are joined when the loop closes, however long they still take.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

MOST = 8
"""How much is done at once; what else is asked for waits."""


class Ending(Exception):
    """The server ends."""


class Threads:
    """Does what takes long in threads, for one event loop."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(MOST)
        self._doing: set[asyncio.Future[Any]] = set()
        self._is_over = False

    async def do[T](self, work: Callable[[], T]) -> T:
        """Return what a function returns that is called in a thread.

        Raises:
            Ending: The server ends; what the function does then does not matter.
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
