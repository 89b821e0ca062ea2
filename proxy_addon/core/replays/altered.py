"""What the changes of a replay did to a request, place by place.

Runs store this and reports show it, and people mail reports. So values that identify people or give access are shown
as `HIDDEN`, whichever change replaced them, and so are values replaced by pseudonyms.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from proxy_addon.core.exchange import Headers, Request
from proxy_addon.core.jsonspans import Location
from proxy_addon.core.jsontext import escaped
from proxy_addon.core.replays.comparing import ABSENT, MOST, shown, unlike
from proxy_addon.core.replays.runs import Difference
from proxy_addon.core.wording import ascii_safe

HIDDEN = "(not shown)"
HEADER = "request.header."
"""Prefix of places in headers; places in the body are JSON Pointers."""
VISITOR_PARAMS = (
    "visitor.marketingCloudUserId",
    "visitor.aamLocationHint",
    "analytics.visitorId",
    "analytics.aid",
    "appInstallationId",
)
"""Params that identify a visitor. Source: Media Collection API, params of ``sessionStart``."""
VISITOR_IDS = "visitor.customerIDs"
"""The param that contains more visitor IDs."""
SENDER_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP")
CREDENTIAL_HEADERS = ("Cookie", "Authorization")
_PRIVATE_NAMES = frozenset({*VISITOR_PARAMS, VISITOR_IDS})
_PRIVATE_HEADERS = frozenset(name.lower() for name in (*SENDER_HEADERS, *CREDENTIAL_HEADERS))
_NUMBER = re.compile(r"/[0-9]+(?=/|\Z)")


def differences(
    recorded: Request, sent: Request, *, hidden: Collection[Location] = (), hidden_headers: Collection[str] = ()
) -> tuple[Difference, ...]:
    """Return where a request differs from the recorded one: at most `MOST` places, the last of which counts the rest.

    Args:
        hidden: Places in the body whose recorded values are hidden, with everything around and inside them.
        hidden_headers: Names, in lower case, of headers whose recorded values are hidden.
    """
    found = list(_headers(recorded.headers, sent.headers, hidden_headers))
    if recorded.body != sent.body:
        found += _body(recorded, sent, {_pattern(_pointer(location)) for location in hidden})
    if len(found) > MOST:
        more = f"{len(found) - MOST + 1} more places"
        found[MOST - 1 :] = [Difference(where="…", a=more, b=more)]
    return tuple(found)


def told(change: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a change, with the value of a private header hidden."""
    is_private = "value" in change and is_private_header(change.get("name", ""))
    return {**change, "value": HIDDEN} if is_private else change


def is_private_header(name: str) -> bool:
    """Whether a header may identify people or give access."""
    return name.lower() in _PRIVATE_HEADERS


def _headers(recorded: Headers, sent: Headers, hidden: Collection[str]) -> Iterator[Difference]:
    if recorded == sent:
        return
    spelled = {name.lower(): name for name, _ in (*sent, *recorded)}
    for lower, name in spelled.items():
        before, after = _values(recorded, lower), _values(sent, lower)
        if before != after:
            is_hidden = lower in hidden or is_private_header(lower)
            yield Difference(
                where=f"{HEADER}{name}", a=_told(before, is_hidden), b=_told(after, is_private_header(lower))
            )


def _values(headers: Headers, lower: str) -> str | None:
    values = [value for name, value in headers if name.lower() == lower]
    return ", ".join(values) if values else None


def _told(value: str | None, is_hidden: bool) -> str | None:
    return HIDDEN if is_hidden and value is not None else value


def _body(recorded: Request, sent: Request, hidden: Collection[str]) -> Iterator[Difference]:
    for where, before, after in unlike("", recorded.reading.value, sent.reading.value):
        pattern = _pattern(where)
        is_hidden = _is_private(where) or any(_is_within(pattern, each) or _is_within(each, pattern) for each in hidden)
        yield Difference(
            where=where, a=HIDDEN if is_hidden and before is not ABSENT else _recorded(before), b=shown(after)
        )


def _recorded(value: Any) -> str | None:
    """Return a recorded value, or only the size of an object or list, which may contain private values."""
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    return f"a list of {len(value)}" if isinstance(value, list) else shown(value)


def _is_private(where: str) -> bool:
    return not _PRIVATE_NAMES.isdisjoint(where.split("/"))


def _is_within(where: str, other: str) -> bool:
    return where == other or where.startswith(f"{other}/")


def _pointer(location: Location) -> str:
    return "".join(f"/{ascii_safe(escaped(str(part)))}" for part in location)


def _pattern(where: str) -> str:
    """Return a place with its indexes replaced by ``*``, because another change may have moved elements of a list."""
    return _NUMBER.sub("/*", where)
