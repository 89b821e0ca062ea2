"""The signals that end a command: the first gracefully, the second at once.

Ctrl-C, SIGTERM and SIGHUP mean the same. After the first signal, the next one ends the process, whatever it is waiting
for. A signal that follows within `SAME_S` counts as the same one, because ``timeout`` and ``uv run`` forward signals to
a child that also got them as a member of their process group. If SIGHUP was ignored at start, as with ``nohup``, it
stays ignored.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP
)

SAME_S = 0.3
"""How long after the first signal another one counts as the same."""
_AGAIN_S = 0.01
"""How long after a signal was lost it is sent again; the finalizer that lost it has ended by then."""


class Ended(BaseException):
    """A signal told this command to end.

    Attributes:
        number: The number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def raise_on_signals() -> None:
    """Make the first signal raise `Ended` in the main thread, so that files are closed and children ended."""
    for number in _wanted():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)
    sys.unraisablehook = functools.partial(_raise_later, sys.unraisablehook)


def end_at_once() -> None:
    """Make the first signal end the process from now on: its work is done, and nothing could catch `Ended` any more."""
    for number in _wanted():
        if signal.getsignal(number) is _raise:
            signal.signal(number, signal.SIG_DFL)


def _raise_later(otherwise: Callable[[sys.UnraisableHookArgs], object], lost: sys.UnraisableHookArgs) -> None:
    """Send a signal again that came while Python ran a finalizer, which no exception can leave."""
    if isinstance(lost.exc_value, Ended):
        signal.signal(lost.exc_value.number, _raise)
        _has_raised.clear()
        threading.Thread(target=_send_again, args=(lost.exc_value.number,), daemon=True).start()
    else:
        otherwise(lost)


_has_raised = threading.Event()


def _send_again(number: int) -> None:
    while not _has_raised.wait(_AGAIN_S):
        os.kill(os.getpid(), number)


def _raise(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code is _raise_later.__code__:  # it is not through yet, and would lose this one too
            return
        frame = frame.f_back
    _has_raised.set()
    _next_one_ends_at_once()
    raise Ended(number)


@contextmanager
def calling_on_signals(stop: Callable[[], object], cut_off: Callable[[], object] = lambda: None) -> Iterator[list[int]]:
    """Make the first signal call a function in the running event loop, until the block ends.

    Args:
        stop: Called at the first signal.
        cut_off: Called at the second signal, before it ends the process: it can say what is left undone.

    Yields:
        A list that gets the number of the signal. If no signal arrives, the previous handlers are restored at the end.
    """
    import asyncio  # noqa: PLC0415  # most commands do without

    received: list[int] = []
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        received.append(number)
        for each in before:
            loop.remove_signal_handler(each)
        _next_one_ends_at_once(cut_off)
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


@contextmanager
def noting_signals(wake: Callable[[], object]) -> Iterator[list[int]]:
    """Let the work of a block go on when the first signal comes, which is noted, instead of raising `Ended`.

    Args:
        wake: Called at the first signal: it ends what the work waits for.

    Yields:
        A list that gets the number of the signal. If no signal arrives, the previous handlers are restored at the end.
    """
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        _next_one_ends_at_once()
        wake()

    before = {number: signal.signal(number, note) for number in _wanted()}
    try:
        yield received
    finally:
        if not received:
            for number, handler in before.items():
                signal.signal(number, handler)


def _next_one_ends_at_once(cut_off: Callable[[], object] = lambda: None) -> None:
    first_s = time.monotonic()

    def end(number: int, _: FrameType | None) -> None:
        if time.monotonic() - first_s > SAME_S:
            for each in _wanted():
                signal.signal(each, signal.SIG_DFL)  # another one does not wait for what is said
            with suppress(Exception):
                cut_off()
            os.kill(os.getpid(), number)

    for number in _wanted():
        signal.signal(number, end)


def _wanted() -> list[int]:
    """Return the signals that end us, without those that are ignored."""
    return [number for number in ENDING if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN]
