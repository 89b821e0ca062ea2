"""The event loop of a replay, uvloop where it is installed, which halves what a request costs; and the signals that end it."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in an event loop of its own, and return what it returns."""
    if importlib.util.find_spec("uvloop") is None:  # there is none for Windows
        return asyncio.run(main)
    import uvloop  # noqa: PLC0415  # as above

    return uvloop.run(main)


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call a function on Ctrl-C and SIGTERM, and collect what came; before and after they do what they did before."""
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        stop()

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, on_signal, int(number))
    try:
        yield received
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
