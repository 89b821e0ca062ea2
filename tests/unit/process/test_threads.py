"""What blocks runs beside the event loop, and holds up neither its end nor what must not wait."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from proxy_addon.process import threads

HANGS = """
import asyncio, time
from proxy_addon.process import threads

async def main():
    for _ in range(2 * threads.MOST):
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
    print(await threads.aside(lambda: "done"))

threads.run(main())
"""


def test_a_process_ends_although_threads_hang():
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_all_that_is_handed_over_is_run_in_no_more_threads_than_allowed():
    most, running = 0, 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return number

    async def main() -> list[int]:
        return await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(5 * threads.MOST)))

    assert threads.run(main()) == list(range(5 * threads.MOST))
    assert 1 < most <= threads.MOST


@pytest.mark.parametrize("of", [asyncio.to_thread, threads.aside])
def test_an_error_comes_out_where_it_is_awaited(of):
    with pytest.raises(ZeroDivisionError):
        threads.run(of(lambda: 1 // 0))
