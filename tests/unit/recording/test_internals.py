"""A mitmproxy that has changed is told when the addon loads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace

import pytest
from mitmproxy.proxy.server import ConnectionIO

from proxy_addon.recording import internals

WITHOUT_A_METHOD = """
import sys
from mitmproxy.proxy.layers.http import HttpStream
del HttpStream.check_killed
sys.argv = ["sessiontape", "record", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"]
from proxy_addon.cli import main
main()
"""


def test_this_version_has_all_that_we_touch():
    assert list(internals.missing(internals.TOUCHED)) == []
    assert all(internals.TOUCHED.values())


def test_what_is_gone_is_named():
    class Base:
        annotated: int

        def method(self) -> None:
            self.set_here = 1

    class Derived(Base):
        pass

    assert list(internals.missing({Derived: ("annotated", "method", "set_here", "__doc__")})) == []
    assert list(internals.missing({Derived: ("method", "gone"), Base: ("other",)})) == ["Derived.gone", "Base.other"]


def test_a_recorder_on_a_changed_mitmproxy_ends_with_an_error(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_METHOD], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith("sessiontape: mitmproxy 12.")
    assert "it has no HttpStream.check_killed" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()), "nothing is made before it is known to work"


class Handler:
    """A handler of a connection that deals with one event at a time, as mitmproxy's does."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self._lock = asyncio.Lock()

    async def server_event(self, event: str) -> None:
        async with self._lock:
            self.handled.append(event)
            if event == "request":
                internals.deliver(self, "judged")  # type: ignore[arg-type]  # while this one is being handled


def test_events_are_handled_in_their_order_and_none_is_lost():
    async def deliver_all() -> list[str]:
        handler = Handler()
        for event in ("request", "drain", "time-out"):  # the one that was judged has its turn after the first
            internals.deliver(handler, event)  # type: ignore[arg-type]  # a stand-in
        assert handler.handled == ["request"]
        await asyncio.sleep(0.01)
        internals.deliver(handler, "late")  # type: ignore[arg-type]  # as above
        return handler.handled

    assert asyncio.run(deliver_all()) == ["request", "judged", "drain", "time-out", "late"]


@pytest.mark.parametrize("reads", [True, False])
def test_a_closed_connection_ends_unless_its_other_side_goes_on_reading(reads):
    async def talk() -> int:
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[asyncio.StreamWriter] = loop.create_future()
        async with await asyncio.start_server(lambda _, writer: accepted.set_result(writer), "127.0.0.1", 0) as server:
            reader, device = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1024)
            writer = await accepted
            io = ConnectionIO(writer=writer)
            writer.write(bytes(20_000_000))
            internals.give_up_on_deaf(SimpleNamespace(transports={"device": io}), "device", 0.5)  # type: ignore[arg-type]
            writer.close()
            got = 0
            if not reads:
                await asyncio.wait_for(writer.wait_closed(), 5)
            while got < 20_000_000 and (data := await reader.read(100_000)):  # far slower than it could
                got += len(data)
                await asyncio.sleep(0.006)
            device.close()
        return got

    assert (asyncio.run(talk()) == 20_000_000) is reads
