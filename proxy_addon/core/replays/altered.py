"""What the changes of a replay did to a request, place by place.

Runs store this and reports show it, and people mail reports. So recorded values that may identify people or give access
are shown as `HIDDEN`, whichever change replaced them: visitor IDs, custom metadata, of which nobody knows what is in
it, and every header that is not known to be harmless. So are values replaced by pseudonyms, and credentials that the
user sets.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from proxy_addon.core.exchange import Headers, Request
from proxy_addon.core.jsonspans import Location
from proxy_addon.core.jsontext import escaped
from proxy_addon.core.pseudonyms.personal import (
    CREDENTIAL_HEADERS,
    SENDER_HEADERS,
    VISITOR_IDS,
    VISITOR_PARAMS,
    is_credential_header,
)
from proxy_addon.core.replays.comparing import ABSENT, MOST, shown, unlike
from proxy_addon.core.replays.runs import Difference
from proxy_addon.core.wording import ascii_safe

HIDDEN = "(not shown)"
HEADER = "request.header."
"""Prefix of places in headers; places in the body are JSON Pointers."""
_PRIVATE_NAMES = frozenset({*VISITOR_PARAMS, VISITOR_IDS, "customMetadata"})
_PRIVATE_HEADERS = frozenset(name.lower() for name in (*SENDER_HEADERS, *CREDENTIAL_HEADERS))
_HARMLESS_HEADERS = frozenset(
    {"accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "content-encoding"}
    | {"content-length", "content-type", "host", "pragma", "user-agent"}
)
"""Headers whose recorded values may be shown; any other may have been made up to carry a credential."""
_NUMBER = re.compile(r"/[0-9]+(?=/|\Z)")


def differences(
    recorded: Request,
    sent: Request,
    *,
    hidden: Collection[Location] = (),
    hidden_places: Collection[str] = (),
    hidden_headers: Collection[str] = (),
) -> tuple[Difference, ...]:
    """Return where a request differs from the recorded one: at most `MOST` places, the last of which counts the rest.

    Args:
        hidden: Places in the body whose recorded values are hidden, with everything around and inside them.
        hidden_places: More of them, as JSON Pointers.
        hidden_headers: Names, in lower case, of headers whose recorded values are hidden.
    """
    found = list(_headers(recorded.headers, sent.headers, hidden_headers))
    if recorded.body != sent.body:
        found += _body(recorded, sent, {_pattern(each) for each in (*map(_pointer, hidden), *hidden_places)})
    if len(found) > MOST:
        more = f"{len(found) - MOST + 1} more places"
        found[MOST - 1 :] = [Difference(where="…", a=more, b=more)]
    return tuple(found)


def told(change: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a change, with the value of a private header hidden."""
    is_private = "value" in change and is_private_header(change.get("name", ""))
    return {**change, "value": HIDDEN} if is_private else change


def is_private_header(name: str) -> bool:
    """Whether a header, by its name, identifies people or gives access."""
    return name.lower() in _PRIVATE_HEADERS or is_credential_header(name.lower())


def _headers(recorded: Headers, sent: Headers, hidden: Collection[str]) -> Iterator[Difference]:
    if recorded == sent:
        return
    spelled = {name.lower(): name for name, _ in (*sent, *recorded)}
    for lower, name in spelled.items():
        before, after = _values(recorded, lower), _values(sent, lower)
        if before != after:
            is_hidden = lower in hidden or lower not in _HARMLESS_HEADERS
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
            where=where,
            a=HIDDEN if is_hidden and before is not ABSENT else _recorded(before),
            b=HIDDEN if _has_moved(after, recorded, is_private=_is_private(where)) else shown(after),
        )


def _has_moved(after: Any, recorded: Request, *, is_private: bool) -> bool:
    """Whether a sent value has private values of the recorded body: dropping an element moves those behind it."""
    private = set(_private_scalars(after, is_private=is_private))
    return bool(private) and not private.isdisjoint(_private_scalars(recorded.reading.value))


def _private_scalars(value: Any, *, is_private: bool = False) -> Iterator[Any]:
    waiting = [(value, is_private)]
    while waiting:
        each, is_private = waiting.pop()
        if isinstance(each, dict):
            waiting += [(inside, is_private or name in _PRIVATE_NAMES) for name, inside in each.items()]
        elif isinstance(each, list):
            waiting += [(inside, is_private) for inside in each]
        elif is_private and each is not ABSENT:
            yield each


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
