"""Column types that can store anything that devices send.

PostgreSQL refuses NUL in text, and both databases refuse lone surrogates, but devices send both. So values that must
come back exactly are stored as bytes or escaped, and values that only lists and filters use are cleaned.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, DateTime, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from proxy_addon.core.exchange import Headers
from proxy_addon.core.findings import Place
from proxy_addon.errors import StorageUnavailable

LABEL_LENGTH = 400
"""Longest text in an indexed column, in characters; PostgreSQL allows 2,704 bytes per index entry."""


def codec_of(dialect: Dialect) -> str:
    """Return the Python codec of what a database can hold; ``utf-8`` until the first connection."""
    return getattr(dialect, "sessiontape_codec", "utf-8")


def replaced(text: str, codec: str) -> str:
    """Return a text with NUL and every character that a codec lacks replaced by a question mark.

    >>> replaced("Amélie 东京", "iso8859-1")
    'Amélie ??'
    """
    return text.replace("\0", "?").encode(codec, "replace").decode(codec)


def codec_in(db: Connection) -> str:
    """Return the Python codec of what a transaction may store: the database's, or ASCII if `Store.write` was told so."""
    return "ascii" if db.get_execution_options().get("sessiontape_ascii") else codec_of(db.dialect)


def fitted(parameters: Any, codec: str) -> Any:
    """Return the parameters of a statement with every character that a codec lacks replaced."""
    match parameters:
        case str():
            return replaced(parameters, codec)
        case Mapping():
            return {name: fitted(value, codec) for name, value in parameters.items()}
        case list() | tuple():
            return type(parameters)(fitted(value, codec) for value in parameters)
        case _:
            return parameters


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC with microseconds; SQLite stores it as text that sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times; SQLite gets UTC without a zone, which it cannot store."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC, whatever the connection's zone is."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class WireText(TypeDecorator[str]):
    r"""Text whose characters are the Latin-1 bytes of the wire; it comes back exactly.

    Backslash and NUL are stored as ``\\`` and ``\0``, so that no exchange is lost because its path contains a NUL.
    If a database cannot hold every character, those beyond ASCII are stored as ``\xe9`` or ``\u20ac``.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape."""
        if value is None:
            return None
        escaped = value.replace("\\", "\\\\").replace("\0", "\\0") if "\\" in value or "\0" in value else value
        return escaped if codec_of(dialect) == "utf-8" else escaped.encode("ascii", "backslashreplace").decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Undo the escape."""
        if value is None or "\\" not in value:
            return value
        return _ESCAPE.sub(_unescaped, value)


_ESCAPE = re.compile(r"\\(?:(?P<same>\\)|(?P<nul>0)|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


def _unescaped(match: re.Match[str]) -> str:
    return match["same"] or ("\0" if match["nul"] else chr(int(match[match.lastindex or 0], 16)))


class PlainText(TypeDecorator[str]):
    """Text of any length that only people read: NUL and lone surrogates are replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Clean."""
        return None if value is None else _clean(value)


class Label(TypeDecorator[str]):
    """Text from a device for lists and filters: cut to `LABEL_LENGTH`, with NUL and lone surrogates replaced.

    The exact text is in the body or the headers.
    """

    impl = String(LABEL_LENGTH)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Clean and cut."""
        if value is None:
            return None
        return _clean(value[:LABEL_LENGTH])


def _clean(value: str) -> str:
    value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


class HeaderList(TypeDecorator[Headers]):
    """Headers as an ASCII JSON list of pairs: order, case, repeats and every byte of a value come back exactly."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Headers | None, dialect: Dialect) -> str | None:
        """Encode."""
        return None if value is None else f"[{','.join([_header(pair) for pair in value])}]"

    def process_result_value(self, value: Any, dialect: Dialect) -> Headers | None:
        """Decode."""
        return None if value is None else _headers(value)


def _header(pair: tuple[str, str]) -> str:
    return _short_header(pair) if len(pair[1]) <= _SHORT else json.dumps(pair, separators=(",", ":"))


@functools.lru_cache(maxsize=2048)
def _short_header(pair: tuple[str, str]) -> str:
    """Encode; cached because the requests of a device have the same headers, but for a few such as Content-Length."""
    return json.dumps(pair, separators=(",", ":"))


_SHORT = 1024
"""Up to how many characters the value of a header is cached, so that the cache stays small whatever devices send."""


@functools.lru_cache(maxsize=1024)
def _headers(text: str) -> Headers:
    """Decode; cached because the requests of a session mostly have the same headers."""
    try:
        return tuple((name, value) for name, value in json.loads(text))
    except (ValueError, TypeError) as e:
        raise StorageUnavailable(
            f"headers in the store cannot be read: {e}", hint="has another program changed them? delete the session"
        ) from e


class PlaceList(TypeDecorator[tuple[Place, ...]]):
    """Places as an ASCII JSON list of pairs; an empty list, which nearly all findings have, is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[Place, ...] | None, dialect: Dialect) -> str | None:
        """Encode."""
        return json.dumps(value, separators=(",", ":")) if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Place, ...]:
        """Decode."""
        try:
            return tuple(Place(seq, pointer) for seq, pointer in json.loads(value)) if value else ()
        except (ValueError, TypeError) as e:
            raise StorageUnavailable(
                f"a finding in the store cannot be read: {e}", hint="has another program changed it? delete the session"
            ) from e
