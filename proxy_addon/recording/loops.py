"""No request goes round: neither to an upstream that is this recorder itself, nor in a ring of recorders.

What an address is called does not matter: a connection is judged by its own addresses once it stands, so that
``127.0.0.2``, ``127.1``, a decimal address or a name in the DNS are seen through.

Where a ring has several recorders, each adds a mark to what it forwards, in a header that is never stored. Only recorders
that run on this machine get to see it: no real upstream ever does.

>>> reaches(("127.0.0.1", 80), [("127.0.0.1", 80)]), reaches(("::ffff:127.0.0.1", 80, 0, 0), [("0.0.0.0", 80)])
(True, True)
>>> reaches(("127.0.0.1", 81), [("0.0.0.0", 80)])
False
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from proxy_addon.core.urls import ServerUrl
from proxy_addon.errors import SettingsError
from proxy_addon.process import recorders

MARK = b"Sessiontape-Recorder"
"""Name of the header by which recorders know requests that they sent, one line for each; only other recorders get it."""

ITSELF = "the upstream is this recorder itself"
ROUND = "the request has come back to the recorder that sent it"

Address = tuple[Any, ...]
"""A socket's address: host and port, and for IPv6 whatever else."""
_IP = ipaddress.IPv4Address | ipaddress.IPv6Address


def refuse_itself(upstream: ServerUrl, listening: Iterable[tuple[str, int]]) -> None:
    """Refuse an upstream that is the proxy itself, in any spelling; a name that does not resolve yet is none.

    Args:
        listening: IP addresses and ports that the proxy is going to listen on.

    Raises:
        SettingsError: It is.
    """
    listening = [each for each in listening if each[1] == upstream.port]
    if not listening:  # the usual case; it asks no name server
        return
    try:
        found = socket.getaddrinfo(upstream.host, upstream.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    if any(reaches(address, listening) for *_, address in found):
        raise SettingsError(
            f"{upstream} is this proxy itself", hint="name the real server, or another address with --listen"
        )


def reaches(address: Address, listening: Iterable[Address]) -> bool:
    """Whether a connection to an address of this or another machine arrives at one of these listeners."""
    ip, port = _ip(address), address[1]
    return any(port == each[1] and _takes(_ip(each), ip) for each in listening)


def is_refused_as_loop(error: str) -> bool:
    """Whether mitmproxy refused to connect to itself, by the error of the connection; it knows a few spellings."""
    return "Request destination unknown" in error


def _takes(listener: _IP, ip: _IP) -> bool:
    if ip.is_unspecified:  # as a destination, it means this machine
        return listener.is_loopback or listener.is_unspecified
    if not listener.is_unspecified:
        return ip == listener
    return ip.version == listener.version and _is_of_this_machine(ip)


def _is_of_this_machine(ip: _IP) -> bool:
    if ip.is_loopback:
        return True
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(ip), 0))
    except OSError:
        return False
    return True


def _ip(address: Address) -> _IP:
    ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
    return (ip.ipv4_mapped or ip) if ip.version == 6 else ip


class Loops:
    """What a recorder knows of where it listens itself, and of the other recorders on this machine."""

    def __init__(self, run: str, listening: Callable[[], Iterable[Address]], folder: Path = recorders.FOLDER) -> None:
        """Begin.

        Args:
            run: Id of the recorder run, which all its processes share.
            listening: Returns the addresses that this recorder listens on.
        """
        self.run = run
        self._listening = listening
        self._folder = folder
        self._announced: list[Address] = []
        self._announced_at_ns = 0

    def leads_back(self, server: Address) -> bool:
        """Whether a connection to upstream ends at this recorder, by the address on the other side."""
        return reaches(server, self._listening())

    def is_recorder(self, server: Address) -> bool:
        """Whether a recorder that runs on this machine is at an address; only such may see a mark."""
        try:
            changed_at_ns = self._folder.stat().st_mtime_ns
        except OSError:
            return False
        if changed_at_ns != self._announced_at_ns:
            self._announced = [(each.address, each.port) for each in recorders.running(self._folder)]
            self._announced_at_ns = changed_at_ns
        return reaches(server, self._announced)

    def has_come_round(self, marks: Iterable[str]) -> bool:
        """Whether the marks of a request say that this recorder has forwarded it before."""
        return self.run in marks
