"""The event loop of a replay: uvloop if it is installed, which halves the cost of a request."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Coroutine, Mapping
from typing import Any


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop, and return its result.

    If connecting is cancelled while a TLS handshake fails, uvloop leaves an exception that nobody can retrieve. No
    traceback of such an exception is logged, because the step that wanted the connection has its own result.
    """
    quiet = _quietly(main)
    if importlib.util.find_spec("uvloop") is None:  # it does not exist for Windows
        return asyncio.run(quiet)
    import uvloop  # noqa: PLC0415  # as above

    return uvloop.run(quiet)


async def _quietly[T](main: Coroutine[Any, Any, T]) -> T:
    asyncio.get_running_loop().set_exception_handler(_tell)
    return await main


def _tell(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    is_left_over = context["message"] == "Future exception was never retrieved"  # that of a task says "Task"
    if not (is_left_over and isinstance(context.get("exception"), OSError)):
        loop.default_exception_handler(dict(context))
