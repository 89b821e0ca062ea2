"""The event loop of a replay: uvloop where it is installed, which halves what a request costs."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Coroutine
from typing import Any


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in an event loop of its own, and return what it returns."""
    if importlib.util.find_spec("uvloop") is None:  # there is none for Windows
        return asyncio.run(main)
    import uvloop  # noqa: PLC0415  # as above

    return uvloop.run(main)
