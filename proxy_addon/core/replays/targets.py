"""Where a replay may go.

The target's name is resolved once, and the addresses that are judged are those that will be connected to. The rules:

* loopback addresses are allowed, and any other host needs ``--allow-host``;
* the upstream of any session in the store always needs it, loopback or not, because it may be production;
* so does every name under ``omtrdc.net`` and ``adobedc.net``, where Adobe's collection servers are;
* a recorder on this machine forwards what it gets, so its upstream is judged instead; one without an upstream of its
  own, such as a forward proxy, may forward anywhere and needs it always;
* a ``Host`` that the user sets must not name a recorded upstream or one of Adobe's servers unasked, because a proxy at
  the target may forward to it.

``--allow-host`` takes ``NAME|ADDRESS[:PORT]``:

>>> parse_allowed("Staging.Example.:8080")
Allowed(host='staging.example', port=8080)
>>> parse_allowed("[::1]")
Allowed(host='::1', port=None)
>>> parse_allowed("http://staging.example")
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: 'http://staging.example' is not a host name or address
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from proxy_addon.errors import SettingsError

PRODUCTION_DOMAINS = ("omtrdc.net", "adobedc.net")

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Allowed:
    """One ``--allow-host``; a port of None allows any port."""

    host: str
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server: its name, its port and the addresses that the name resolves to.

    Attributes:
        label: Its name in messages.
        addresses: IPv4-mapped addresses are converted to IPv4; empty if the name could not be resolved.
    """

    label: str
    host: str
    port: int
    addresses: frozenset[Address]

    def __post_init__(self) -> None:
        object.__setattr__(self, "addresses", frozenset(canonical_address(address) for address in self.addresses))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a target is refused, and what to type to allow it."""

    reason: str
    allow: str


_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]]+))(?::(?P<port>[0-9]{1,5}))?\Z")


def parse_allowed(text: str) -> Allowed:
    """Parse one ``--allow-host``.

    Raises:
        SettingsError: The text is not ``NAME|ADDRESS[:PORT]``.
    """
    try:
        return Allowed(canonical_host(str(ip_address(text))))
    except ValueError:
        pass  # not a bare address; a name, or something with a port
    match = _HOST.match(text)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or port == 0 or (port or 0) > 65535:
        raise SettingsError(f"{text!r} is not a host name or address", hint="write --allow-host NAME, or NAME:PORT")
    return Allowed(canonical_host(match["v6"] or match["host"]), port)


def canonical_host(host: str) -> str:
    """Return a host name in lower case, in ASCII and without trailing dots, or an address in canonical form."""
    if not host.isascii():
        # IDNA is what is looked up: it turns full-width letters and dots into ASCII. A name that it refuses has no
        # addresses.
        with suppress(UnicodeError):
            host = host.encode("idna").decode()
    host = host.lower().rstrip(".")
    try:
        return str(canonical_address(ip_address(host)))
    except ValueError:
        return host


def canonical_address(address: Address) -> Address:
    """Return the IPv4 address inside an IPv4-mapped IPv6 one; any other address as it is."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def refusal(
    target: Server,
    *,
    upstreams: Iterable[Server],
    allowed: Collection[Allowed],
    local: Collection[Address],
    is_connected_to: bool = True,
) -> Refusal | None:
    """Judge a target.

    Args:
        target: The target, with the addresses that will be connected to.
        upstreams: The upstreams of all sessions in the store.
        allowed: What the user allows.
        local: Those of all these addresses that belong to this machine; on one port, they count as one server.
        is_connected_to: Whether requests go there; if they only name it, it need not be on this machine.

    Returns:
        None if a replay may go there.
    """
    if is_allowed(target, allowed):
        return None
    port = f":{target.port}"
    suggestion = f"{f'[{target.host}]' if ':' in target.host else target.host}{port}"
    for upstream in upstreams:
        if is_same(target, upstream, local):
            return Refusal(f"it is the upstream of recorded sessions ({upstream.label})", suggestion)
    host = canonical_host(target.host)
    if any(host == domain or host.endswith(f".{domain}") for domain in PRODUCTION_DOMAINS):
        return Refusal("it is one of Adobe's production servers", suggestion)
    if not is_connected_to:
        return None
    if not target.addresses:
        return Refusal("its name could not be resolved, so it is not known to be this machine", suggestion)
    foreign = sorted(str(address) for address in target.addresses if not address.is_loopback)
    if foreign:
        return Refusal(f"{foreign[0]} is not a loopback address", suggestion)
    return None


def is_allowed(target: Server, allowed: Collection[Allowed]) -> bool:
    """Whether the user allows a target by name or by all its addresses."""
    hosts = {entry.host for entry in allowed if entry.port in (None, target.port)}
    if canonical_host(target.host) in hosts:
        return True
    return bool(target.addresses) and all(str(address) in hosts for address in target.addresses)


def is_same(one: Server, other: Server, local: Collection[Address]) -> bool:
    """Whether two servers are the same.

    Args:
        local: Those of their addresses that belong to this machine; on one port, they count as one server.
    """
    if one.port != other.port:
        return False
    if canonical_host(one.host) == canonical_host(other.host) or one.addresses & other.addresses:
        return True
    # A server on this machine usually listens on several of its addresses.
    return any(_is_own(address, local) for address in one.addresses) and any(
        _is_own(address, local) for address in other.addresses
    )


def _is_own(address: Address, local: Collection[Address]) -> bool:
    # Connecting to the unspecified address reaches this machine.
    return address.is_loopback or address.is_unspecified or address in local
