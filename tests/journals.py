"""Journals for tests, written as a recorder writes them, of exchanges that tests build."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from proxy_addon.core.exchange import Exchange
from proxy_addon.journal import folders, segments
from proxy_addon.journal.entries import About, Counted, Entry, Exchanged, encoded
from tests.builders import BEGIN

BEGIN_US = int(BEGIN.timestamp()) * 1_000_000
UPSTREAM = "https://upstream.example"


def about(run: str = "run1", **values: Any) -> About:
    """Return who writes."""
    usual = About(run=run, started_us=BEGIN_US, program="1.2.3", engine="lane", upstream=UPSTREAM)
    return msgspec.structs.replace(usual, **values)


def entry(of: Exchange) -> Exchanged:
    """Return the entry of an exchange."""
    asked, answer = of.request, of.response
    line = f"{asked.method} {asked.path} {asked.http_version}"
    return Exchanged(
        id=of.id,
        received_us=int(of.received_at.timestamp() * 1_000_000),
        outcome=of.outcome.value,
        request=_head(line, asked.headers),
        request_body=asked.body,
        is_complete=asked.complete,
        response=_head(f"{answer.http_version} {answer.status} {answer.reason}", answer.headers) if answer else None,
        response_body=answer.body if answer else b"",
        duration_us=of.duration_us,
        client=of.client_address,
        server=of.server_address,
        upstream=None if of.upstream == UPSTREAM else of.upstream,
        reason=of.reason,
    )


def counted(seen: int, **values: Any) -> Counted:
    """Return the books of a writer, which has journaled all that it has seen."""
    return msgspec.structs.replace(Counted(at_us=BEGIN_US + 1, seen=seen, journaled=seen), **values)


def write(
    folder: Path, entries: Iterable[Entry], who: About | None = None, *, number: int = 1, commit: int = 7
) -> Path:
    """Write a finished segment, with so many entries in each commit; return its path."""
    who = who or about()
    folders.prepare(folder)
    path = folder / str(segments.Name(who.run, who.worker, number))
    segments.create(path, who, durable=False, log_bytes=0)
    segments.publish(path, durable=False)
    append(path, list(entries), commit=commit)
    return path


def append(path: Path, entries: Sequence[Entry], *, count: int = 0, commit: int = 7) -> None:
    """Add to a segment that has so many entries; it stays as a process that was killed would leave it."""
    growing = segments.Growing(path, durable=False)
    growing.count = count
    for place in range(0, len(entries), commit):
        some = entries[place : place + commit]
        growing.append(len(some), encoded(some))
    growing.close()


def _head(line: str, headers: Iterable[tuple[str, str]]) -> bytes:
    return "".join([f"{line}\r\n", *(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]).encode("latin-1")
