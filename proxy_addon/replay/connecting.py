"""Open connections to addresses that have been checked: directly, or through an HTTP proxy.

A proxy is only used if ``--proxy`` asks for one. For http and https alike, it is asked for a tunnel (``CONNECT``, RFC
9110, 9.3.6) to an IP address. So we decide where requests go, not the proxy's name resolution, and the proxy passes on
the same bytes that a direct connection would carry.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from proxy_addon.core.replays.targets import Allowed
from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.errors import SettingsError
from proxy_addon.replay.resolving import CheckedTarget, Role, check_target

FROM_ENVIRONMENT = "env"
_LONGEST_HEAD = 64 * 1024
_OTHER_FILES = 64
"""How many open files a replay needs besides its connections: the store, the terminal, files that are read."""
_AT_ONCE = 4
"""How many connections a session may need at once, if its requests overlapped; most sessions need one."""
_STATUS = re.compile(rb"HTTP/1\.[01] (?P<status>[0-9]{3})(?P<reason>[^\r\n]*)\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """The proxy that the user named.

    Attributes:
        authorization: Value of ``Proxy-Authorization``; None if the URL has no user.
    """

    url: ServerUrl
    authorization: str | None = None


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that may be used: its addresses were checked like those of a target."""

    server: CheckedTarget
    authorization: str | None = None


def parse_proxy(text: str) -> ProxyUrl:
    """Parse ``http://[user:password@]host[:port]``.

    Raises:
        SettingsError: The text is something else. The message does not contain the password.
    """
    hint = "write --proxy http://host:port, or --proxy env for the one that the environment names"
    user, at, rest = text.rpartition("@")
    scheme = "http://" if at else ""
    try:
        url = parse_server_url(scheme + rest)
    except SettingsError as e:
        raise SettingsError(f"not a proxy: {e}", hint=hint) from None
    if url.scheme != "http" or url.path or (at and not user.lower().startswith("http://")):
        raise SettingsError(f"{url} is not an HTTP proxy", hint=hint)
    if not at:
        return ProxyUrl(url)
    named = urlsplit(f"{user}@host")
    secret = f"{unquote(named.username or '')}:{unquote(named.password or '')}"
    return ProxyUrl(url, f"Basic {base64.b64encode(secret.encode()).decode()}")


def proxy_of_environment(target: ServerUrl) -> ProxyUrl | None:
    """Return the proxy that ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` name for a target, if any.

    Raises:
        SettingsError: The proxy named there cannot be used.
    """
    known = getproxies()
    named = known.get(target.scheme) or known.get("all")
    if not named or proxy_bypass(f"{target.host}:{target.port}"):
        return None
    return parse_proxy(named if "://" in named else f"http://{named}")


def check_proxy(
    proxy: ProxyUrl,
    target: CheckedTarget,
    *,
    upstreams: Iterable[str],
    allowed: Collection[Allowed],
    servers: Iterable[tuple[str, str, int]] = (),
) -> Proxy:
    """Resolve a proxy and judge it by the rules for targets, because everything that is sent reaches it first.

    Args:
        target: The target to reach through the proxy.
        upstreams: As for `check_target`.
        servers: As for `check_target`.

    Raises:
        TargetRefused: The proxy may not be used.
        TargetUnreachable: The proxy's name cannot be resolved.
        SettingsError: The target is a loopback address and the proxy is not, so the proxy would connect to itself.
    """
    server = check_target(proxy.url, role=Role.PROXY, upstreams=upstreams, allowed=allowed, servers=servers)
    elsewhere = [number for number in server.addresses if not _is_loopback(number)]
    if elsewhere and any(map(_is_loopback, target.addresses)):
        raise SettingsError(
            f"{target.url} is this machine, but the proxy {proxy.url} would take that address for its own machine",
            hint="leave --proxy out",
        )
    return Proxy(server, proxy.authorization)


def make_room(sessions: int) -> None:
    """Raise this process's limit of open files so that it suffices for a number of concurrent sessions.

    Raises:
        SettingsError: The system does not allow even one connection for each session.
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415  # there is none on Windows

    needed = sessions + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _AT_ONCE * needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SettingsError(
            f"{sessions} sessions at the same time need {needed} open files, but this process may have only {hard}",
            hint="lower --concurrency, or raise 'ulimit -n'",
        )
    wanted = _AT_ONCE * needed if hard == resource.RLIM_INFINITY else min(hard, _AT_ONCE * needed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def connect(number: str, port: int, proxy: Proxy | None = None) -> socket.socket:
    """Return a connected non-blocking socket.

    Args:
        number: The IP address to connect to.

    Raises:
        OSError: No connection could be made; the message says if a proxy refused it.
    """
    if proxy is None:
        return await _connect(number, port)
    failure: OSError | None = None
    for each in proxy.server.addresses:
        try:
            sock = await _connect(each, proxy.server.url.port)
        except OSError as e:
            failure = failure or e
            continue
        try:
            await _open_tunnel(sock, number, port, proxy)
        except BaseException:
            sock.close()
            raise
        return sock
    raise OSError(f"no connection to the proxy {proxy.server.url}: {failure}")


async def _connect(number: str, port: int) -> socket.socket:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    ((family, kind, protocol, _, address),) = socket.getaddrinfo(number, port, type=socket.SOCK_STREAM, flags=flags)[:1]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _open_tunnel(sock: socket.socket, number: str, port: int, proxy: Proxy) -> None:
    loop = asyncio.get_running_loop()
    authority = f"[{number}]:{port}" if ":" in number else f"{number}:{port}"
    said = "" if proxy.authorization is None else f"Proxy-Authorization: {proxy.authorization}\r\n"
    await loop.sock_sendall(sock, f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{said}\r\n".encode())
    head = b""
    while (end := _HEAD_END.search(head)) is None:
        piece = await loop.sock_recv(sock, 4096)
        head += piece
        if not piece or len(head) > _LONGEST_HEAD:
            raise OSError(f"the proxy {proxy.server.url} did not answer with HTTP")
    status = _STATUS.match(head)
    if status is None:
        raise OSError(f"the proxy {proxy.server.url} did not answer with HTTP")
    if not status["status"].startswith(b"2"):
        told = (status["status"] + status["reason"]).decode("latin-1").strip()
        raise OSError(f"the proxy {proxy.server.url} refused a tunnel to {authority}: {told}")
    if len(head) > end.end():
        raise OSError(f"the proxy {proxy.server.url} sent data before it was asked")


def _is_loopback(number: str) -> bool:
    return ip_address(number.partition("%")[0]).is_loopback
