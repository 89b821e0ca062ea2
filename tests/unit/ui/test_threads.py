"""Work in threads: its result or its error comes back, and at the end nobody waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from proxy_addon.ui.threads import MOST, Ending, Threads


async def test_a_result_and_an_error_come_back():
    threads = Threads()
    assert await threads.do(lambda: threading.current_thread().daemon)
    with pytest.raises(ZeroDivisionError):
        await threads.do(lambda: 1 / 0)


async def test_at_the_end_nobody_waits_for_what_is_not_done_or_not_begun():
    threads, begun, never = Threads(), threading.Semaphore(0), threading.Event()

    def work() -> None:
        begun.release()
        never.wait()

    waiting = [asyncio.create_task(threads.do(work)) for _ in range(MOST + 2)]
    for _ in range(MOST):
        assert await asyncio.to_thread(begun.acquire, timeout=20)
    threads.end()
    found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)
    assert [type(each) for each in found] == [Ending] * len(waiting)
    assert not begun.acquire(blocking=False), "no more begins"
    never.set()
