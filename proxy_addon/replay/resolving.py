"""Resolve a target once, and judge the addresses that will be connected to before anything is sent.

`core.replays.targets` has the rules. This module finds out what they need: the addresses of names, and which of them
belong to this machine.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from proxy_addon.core.replays.targets import Address, Allowed, Server, canonical_address, is_allowed, is_same, refusal
from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.errors import ReplayError, SettingsError, TargetRefused, TargetUnreachable
from proxy_addon.process.recorders import Recorder

_PARALLEL_LOOKUPS = 16


class Role(StrEnum):
    """The role of a server in a replay; the value is what names it to the user."""

    TARGET = "--target"
    PROXY = "--proxy"
    HOST = "Host"
    """The server that a changed ``Host`` names: a proxy at the target may send requests there."""
    BEHIND = "its upstream"
    """The upstream of a recorder at the target."""


@dataclass(frozen=True, slots=True)
class CheckedTarget:
    """A target that a replay may go to, with the addresses that were judged; no others are connected to.

    Attributes:
        addresses: IP addresses in the order to try them.
        needed_leave: Whether the target is only allowed because of ``--allow-host``.
    """

    url: ServerUrl
    addresses: tuple[str, ...]
    needed_leave: bool = False


def check_target(
    url: ServerUrl,
    *,
    upstreams: Iterable[str],
    allowed: Collection[Allowed],
    servers: Iterable[tuple[str, str, int]] = (),
    recorders: Collection[Recorder] = (),
    role: Role = Role.TARGET,
) -> CheckedTarget:
    """Resolve a target and judge it.

    Args:
        upstreams: URLs of the upstreams of everything in the store.
        servers: Addresses that were connected to while recording: upstream, address, port.
        recorders: The recorders that run on this machine.
        role: The role of the target, for messages.

    Raises:
        TargetRefused: A replay may not go there; the hint says what to type to allow it.
        TargetUnreachable: The target's name cannot be resolved, and it is to be connected to.
    """
    upstreams, servers = list(upstreams), list(servers)
    failure: OSError | UnicodeError | None = None
    numbers: tuple[str, ...] = ()
    try:
        numbers = _resolve(url.host, url.port)
    except (OSError, UnicodeError) as e:  # UnicodeError: the name has an empty or too long label
        failure = e
    target = Server(label=str(url), host=url.host, port=url.port, addresses=_addresses(numbers))
    others = _servers(upstreams, url.port) + [
        Server(label=upstream, host=address, port=port, addresses=_addresses([address]))
        for upstream, address, port in servers
        if port == url.port
    ]
    everywhere = target.addresses.union(*(other.addresses for other in others))
    # Refuse first: a name may have to be refused even if it cannot be resolved here.
    judge = functools.partial(
        refusal, target, upstreams=others, local=_own(everywhere), is_connected_to=role is not Role.HOST
    )
    refused = judge(allowed=allowed)
    if refused is not None:
        raise TargetRefused(
            f"{_refused(url, role)}{refused.reason}; nothing has been sent", hint=_leave(refused.allow, role)
        )
    if failure is not None and role is not Role.HOST:
        raise TargetUnreachable(
            f"cannot resolve {url.host}: {_cause(failure)}", hint=f"is {role} spelled right, and is there a network?"
        ) from failure
    needed_leave = judge(allowed=()) is not None
    for recorder in _recorders_at(target, recorders):
        why = "; nothing has been sent"
        if recorder.upstream is not None:
            try:
                behind = check_target(
                    parse_server_url(recorder.upstream),
                    upstreams=upstreams,
                    allowed=allowed,
                    servers=servers,
                    recorders=[each for each in recorders if each != recorder],
                    role=Role.BEHIND,
                )
            except (ReplayError, SettingsError) as e:
                why = f": {e}"
            else:
                needed_leave = needed_leave or behind.needed_leave
                continue
        if not is_allowed(target, allowed):
            place = f"{f'[{url.host}]' if ':' in url.host else url.host}:{url.port}"
            raise TargetRefused(
                f"{_refused(url, role)}a recorder listens there and would pass it on to "
                f"{recorder.upstream or 'any server that a request names'}{why}",
                hint=_leave(place, role),
            )
        needed_leave = True
    return CheckedTarget(url, numbers, needed_leave)


def _refused(url: ServerUrl, role: Role) -> str:
    match role:
        case Role.BEHIND:
            return ""  # the recorder's message says it
        case Role.HOST:
            return f"refused to replay with the header Host: {url.authority}: "
        case _:
            return f"refused to replay {'to' if role is Role.TARGET else 'through'} {url}: "


def _leave(place: str, role: Role) -> str:
    """Return what to type to allow a server, and what comes with it; a proxy alone does not make a replay safe."""
    safe = "" if role is Role.PROXY else ", which also switches --safe on"
    return f"if that is where it should go, allow it{safe}: --allow-host {place}"


def _recorders_at(target: Server, recorders: Iterable[Recorder]) -> Iterator[Recorder]:
    for recorder in recorders:
        if recorder.port == target.port:
            own = Server(label="", host=recorder.address, port=recorder.port, addresses=_addresses([recorder.address]))
            if is_same(target, own, _own(target.addresses | own.addresses)):
                yield recorder


def _servers(upstreams: Iterable[str], port: int) -> list[Server]:
    """Return the upstreams on a port. Upstreams on other ports are different servers and need no lookup."""
    urls = []
    for upstream in upstreams:
        with suppress(SettingsError):  # nothing can have connected to an invalid URL
            urls.append(parse_server_url(upstream))
    urls = [url for url in urls if url.port == port]
    with ThreadPoolExecutor(_PARALLEL_LOOKUPS) as pool:
        found = pool.map(_resolve_if_possible, urls)
    return [
        Server(label=str(url), host=url.host, port=url.port, addresses=_addresses(numbers))
        for url, numbers in zip(urls, found, strict=True)
    ]


def _resolve_if_possible(url: ServerUrl) -> tuple[str, ...]:
    try:
        return _resolve(url.host, url.port)
    except (OSError, UnicodeError):
        return ()


def _resolve(host: str, port: int) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _addresses(numbers: Iterable[str]) -> frozenset[Address]:
    return frozenset(canonical_address(ip_address(number.partition("%")[0])) for number in numbers)


def _own(addresses: Iterable[Address]) -> frozenset[Address]:
    return frozenset(address for address in addresses if _is_own(address))


def _is_own(address: Address) -> bool:
    """Whether an address belongs to this machine: only those can be bound to. No packet is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
