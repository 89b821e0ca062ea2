r"""What a journal holds: entries, and who wrote them, as bytes and back.

An entry has what was on the wire and when; nothing in it was parsed beyond what finds the end of a message, nothing was
folded or judged. Entries are arrays in MessagePack, with their kind first. They only ever grow at the end: a reader gives
members that an older version did not write their defaults, and passes over members that a newer one has added.
`VERSION` changes only if an entry would otherwise be misread.

>>> entry = Exchanged(id="00", received_us=1, outcome="answered", request=b"POST /api/v1/sessions HTTP/1.1\r\n\r\n")
>>> decoded(encoded(entry)) == entry
True
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

VERSION = 1
"""The form of segments and entries; a segment of a newer one is left alone."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Who wrote a segment, and how what is in it has to be judged.

    Attributes:
        version: `VERSION` of the writer.
        run: Id of the recorder run; all its processes have the same.
        worker: Number of the process in its run, from 0.
        name: Name of the recording; None if it has none.
        started_us: When the run began, in Unix microseconds.
        program: Version of sessiontape.
        engine: ``lane``, ``hooks``, or ``lane+hooks`` if the connection decides.
        upstream: The upstream of reverse mode, as the user wrote it; None if each request has its own.
        checks: Whether what is recorded is judged.
        pseudonymised: Whether personal values have been replaced.
        policy: How strictly to judge; the document that `proxy_addon.core.judging.policy.to_document` makes.
    """

    run: str
    started_us: int
    program: str
    engine: str
    version: int = VERSION
    worker: int = 0
    name: str | None = None
    upstream: str | None = None
    checks: bool = True
    pseudonymised: bool = False
    policy: Mapping[str, Any] = {}


class Exchanged(msgspec.Struct, array_like=True, tag="x", frozen=True, kw_only=True):
    """An exchange.

    Attributes:
        id: As of `proxy_addon.core.exchange.Exchange`.
        received_us: Arrival of the request's first byte, in Unix microseconds.
        outcome: A value of `proxy_addon.core.exchange.Outcome`.
        request: Head of the request as the device sent it, the empty line included. HTTP/2, and what a pseudonymiser has
            rewritten, is written as if it were HTTP/1.1, with the version in the request line.
        request_body: The body without the transfer coding; its beginning, if ``request_length`` is set.
        is_complete: Whether the request had arrived whole.
        response: Head of upstream's answer in the same form; None if it gave none.
        duration_us: Microseconds from the first byte of the request to the last byte of the answer.
        upstream: Where it went; None if `About.upstream` says so.
        request_length: Length of the whole body in bytes, if it was too long to keep; otherwise None.
        request_sha256: SHA-256 of the whole body, in hex, if it was too long to keep; otherwise None.
    """

    id: str
    received_us: int
    outcome: str
    request: bytes
    request_body: bytes = b""
    is_complete: bool = True
    response: bytes | None = None
    response_body: bytes = b""
    duration_us: int | None = None
    client: str | None = None
    server: tuple[str, int] | None = None
    upstream: str | None = None
    reason: str | None = None
    request_length: int | None = None
    request_sha256: str | None = None
    response_length: int | None = None
    response_sha256: str | None = None


class Dropped(msgspec.Struct, array_like=True, tag="d", frozen=True, kw_only=True):
    """An exchange that could not be journaled when it ended, and was dropped; its name came in later."""

    id: str
    received_us: int
    method: str
    path: str
    reason: str
    upstream: str | None = None


class Counted(msgspec.Struct, array_like=True, tag="c", frozen=True, kw_only=True):
    """A sign of life with the books of the process so far; the last one before the process ends says so.

    Attributes:
        at_us: When, in Unix microseconds.
        seen: Exchanges that came in, those in flight included.
        journaled: Exchanges in the journal.
        dropped: Exchanges that could not be journaled.
    """

    at_us: int
    seen: int
    journaled: int
    dropped: int = 0
    is_end: bool = False


Entry = Exchanged | Dropped | Counted

encoded = msgspec.msgpack.Encoder().encode
"""Return an entry as bytes."""
decoded = msgspec.msgpack.Decoder(Entry).decode
"""Return the entry in bytes.

Raises:
    msgspec.DecodeError: They are no entry.
"""
