"""Addresses in messages, and why they cannot be listened on or connected to.

>>> why_unconnected("nohost.invalid", f"[Errno {socket.EAI_NONAME}] Name or service not known")
'cannot resolve nohost.invalid'
>>> refused = f"[Errno {errno.ECONNREFUSED}] Connect call failed"
>>> why_unconnected("localhost", f"Multiple exceptions: {refused} ('::1', 1, 0, 0), {refused} ('127.0.0.1', 1)")
'connection refused'
>>> why_unconnected("localhost", "Certificate verify failed")
'Certificate verify failed'
"""

from __future__ import annotations

import errno
import os
import re
import socket

from proxy_addon.errors import SettingsError


def in_url(host: str) -> str:
    """Return a host as it is written in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def cannot_listen(host: str, port: int, error: OSError, option: str = "--listen") -> SettingsError:
    """Return the error for an address that cannot be listened on.

    Args:
        option: The option that named it.

    >>> cannot_listen("nohost.invalid", 1, socket.gaierror(socket.EAI_NONAME, "Name or service not known")).hint
    'is the name right? If this machine cannot resolve it, give an address such as 127.0.0.1 with --listen'
    """
    # asyncio skips addresses that are not there, and its error has no number if none is left.
    if error.errno == errno.EADDRNOTAVAIL or "could not bind on any address" in str(error):
        return SettingsError(
            f"cannot listen on {in_url(host)}:{port}: this machine has no address {host}",
            hint=f"name another address with {option}; 127.0.0.1 is this machine only, 0.0.0.0 all of its addresses",
        )
    if isinstance(error, socket.gaierror):
        return SettingsError(
            f"cannot listen on {in_url(host)}:{port}: {error.strerror or error}",
            hint=f"is the name right? If this machine cannot resolve it, give an address such as 127.0.0.1 with {option}",
        )
    # asyncio adds the address to the text of its errors; only those of name resolution (below 0) have plain texts.
    number = error.errno if error.errno is not None and error.errno > 0 else None
    reason = os.strerror(number) if number is not None else error.strerror or str(error)
    return SettingsError(
        f"cannot listen on {in_url(host)}:{port}: {reason}",
        hint=f"stop what uses it, or name another address with {option}; port 0 takes a free one",
    )


def listener(host: str, port: int, option: str = "--listen") -> socket.socket:
    """Return a socket that listens on an address.

    Args:
        option: The option that named it.

    Raises:
        SettingsError: It cannot be listened on.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as e:
        raise cannot_listen(host, port, e, option) from e


def why_unconnected(host: str, error: str) -> str:
    """Return in plain words why a host could not be connected to.

    Args:
        error: The text of the error; if it has no error number, it is returned unchanged.
    """
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\[Errno (-?[0-9]+)\]", error))
    if not numbers:
        return error
    return " and ".join(dict.fromkeys(_plain(number, host) for number in numbers))


def _plain(number: int, host: str) -> str:
    if number < 0 or number in _UNRESOLVED:
        return f"cannot resolve {host}"
    text = os.strerror(number)
    return text[:1].lower() + text[1:]


_UNRESOLVED = (socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL)
"""Numbers of name resolution; on Linux they are negative, elsewhere they are not."""
