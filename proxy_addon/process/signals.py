"""The signals that end a command: the first in good order, the second at once.

Ctrl-C, SIGTERM and SIGHUP mean the same. From the first of them on all three have the effect that the system gives
them, so that the next one ends the process whatever it is waiting for. A SIGHUP that whoever started us had ignored,
as ``nohup`` does, stays ignored.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP
)


class Ended(BaseException):
    """A signal is to end this command.

    Attributes:
        number: Which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def raise_on_signals() -> None:
    """Have the first signal raise `Ended` in the main thread: files are closed and children ended on the way out."""
    for number in _wanted():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def _raise(number: int, _: FrameType | None) -> None:
    next_one_ends_at_once()
    raise Ended(number)


@contextmanager
def calling_on_signals(stop: Callable[[], object]) -> Iterator[list[int]]:
    """Have the first signal call a function in the running event loop, for as long as the block lasts.

    Gives the signals that came: none, or one. Where none came, the signals have the effect afterwards that they had
    before.
    """
    received: list[int] = []
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        received.append(number)
        for each in before:
            loop.remove_signal_handler(each)
        next_one_ends_at_once()
        stop()

    before = {number: signal.getsignal(number) for number in _wanted()}
    for number in before:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield received
    finally:
        if not received:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)


def next_one_ends_at_once() -> None:
    """Give the signals the effect that the system gives them."""
    for number in _wanted():
        signal.signal(number, signal.SIG_DFL)


def _wanted() -> list[int]:
    """Return the signals that end us, without those that are to be ignored."""
    return [number for number in ENDING if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN]
