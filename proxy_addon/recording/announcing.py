"""Announce where a recorder listens, so that no replay goes through it to its upstream unless that is allowed."""

from __future__ import annotations

from mitmproxy import ctx
from mitmproxy.proxy.mode_specs import ReverseMode

from proxy_addon.process import recorders
from proxy_addon.process.recorders import Recorder
from proxy_addon.process.sockets import in_url
from proxy_addon.recording.internals import Proxyserver


class Announcing:
    """The addon that announces it, from when connections are accepted until the proxy ends."""

    def running(self) -> None:
        """Announce all addresses; only those of reverse mode have an upstream of their own."""
        server: Proxyserver | None = ctx.master.addons.get("proxyserver")
        found = []
        for instance in server.servers if server is not None else ():
            mode = instance.mode
            upstream = None
            if isinstance(mode, ReverseMode):
                host, port = mode.address
                upstream = f"{mode.scheme}://{in_url(host)}:{port}"
            elif mode.transport_protocol == "udp":
                continue  # a replay cannot reach it
            found += [
                Recorder(address=str(each[0]), port=int(each[1]), upstream=upstream) for each in instance.listen_addrs
            ]
        if found:
            recorders.announce(found)

    def done(self) -> None:
        """Withdraw the announcement."""
        recorders.withdraw()
