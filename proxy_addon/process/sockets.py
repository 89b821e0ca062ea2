"""Listening addresses in messages."""

from __future__ import annotations

import os

from proxy_addon.errors import SettingsError


def in_url(host: str) -> str:
    """Return a host as it is written in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def cannot_listen(host: str, port: int, error: OSError) -> SettingsError:
    """Return the error for an address that cannot be listened on."""
    # asyncio adds the address to the text of its errors; only those of name resolution (below 0) have plain texts.
    number = error.errno if error.errno is not None and error.errno > 0 else None
    reason = os.strerror(number) if number is not None else error.strerror or str(error)
    return SettingsError(
        f"cannot listen on {in_url(host)}:{port}: {reason}",
        hint="stop what uses it, or name another address with --listen; port 0 takes a free one",
    )
