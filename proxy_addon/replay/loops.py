"""The event loop of a replay: uvloop if it is installed, which halves the cost of a request."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Coroutine
from typing import Any


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop, and return its result."""
    if importlib.util.find_spec("uvloop") is None:  # it does not exist for Windows
        return asyncio.run(main)
    import uvloop  # noqa: PLC0415  # as above

    return uvloop.run(main)
