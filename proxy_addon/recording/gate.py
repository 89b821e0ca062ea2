"""Keep devices waiting while mitmproxy starts.

Inside mitmdump, mitmproxy and mitmweb, the port is open before the addons have started. They start one after the other, ours
before those that a request needs, and an error that is logged meanwhile ends the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mitmproxy import ctx

from proxy_addon.recording.internals import Proxyserver


class Gate:
    """An addon that knows when all addons run. It must be the last one, which starts after all others."""

    name = "sessiontape_gate"

    def __init__(self, may_open: Callable[[], bool]) -> None:
        """Make a closed gate.

        Args:
            may_open: Asked once all others have started; if it is false, mitmproxy is about to end.
        """
        self._may_open = may_open
        self._is_open = asyncio.Event()

    def running(self) -> None:
        """Open the gate."""
        if self._may_open():
            self._is_open.set()

    async def wait(self) -> None:
        """Wait until the gate is open."""
        await self._is_open.wait()


def closed(may_open: Callable[[], bool]) -> Gate | None:
    """Return a gate that opens when all addons run; None if they do already, as when a changed script is loaded again.

    Args:
        may_open: As of `Gate`.
    """
    proxyserver = ctx.master.addons.get("proxyserver")
    if not isinstance(proxyserver, Proxyserver) or proxyserver.is_running:
        return None
    gate = Gate(may_open)
    ctx.master.addons.add(gate)
    return gate
