"""``sessiontape export --format parquet``: events as a folder of Parquet files, by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy_addon.cli.engines import Engine, extra, worked
from proxy_addon.cli.filters import require_any
from proxy_addon.cli.opening import reading
from proxy_addon.core.jsonforms import iso

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy_addon.core.exchange import Exchange
    from proxy_addon.core.findings import Finding
    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.core.pseudonyms.personal import Personal
    from proxy_addon.core.sessions import Session
    from storage.auditing import Piece
    from storage.filters import Filters

_UNFINISHED = ".part"
"""How the names of files end until all are written: what reads a folder above takes every ``*.parquet`` for whole."""

type Files = list[tuple[str, bytes]]
"""The day of each file and its bytes."""


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """How personal values are replaced; it can be sent to another machine."""

    key: bytes = field(repr=False)
    personal: Personal


def files_of(sessions: Iterable[tuple[Session, Iterable[Exchange]]], policy: Policy) -> Files:
    """Return the files with the events of sessions, as they are; requests are judged by a policy."""
    with extra("--format parquet"):
        from proxy_addon.files.parquet import EventTable  # noqa: PLC0415
    from proxy_addon.core.fixtures.event_rows import event_rows, session_row  # noqa: PLC0415  # as above

    with EventTable() as table:
        for session, exchanges in sessions:
            table.add(session_row(session), event_rows(_judged(exchanges, policy)))
        return table.files()


def _judged(exchanges: Iterable[Exchange], policy: Policy) -> Iterator[tuple[Exchange, list[Finding]]]:
    from proxy_addon.core.judging.exchanges import judge_exchange  # noqa: PLC0415  # as above

    return ((exchange, judge_exchange(exchange, policy)) for exchange in exchanges)


@dataclass(frozen=True, kw_only=True)
class StoredEvents:
    """How events of a store become files; it can be sent to another machine.

    Attributes:
        now: The time at which open sessions are tested for having expired, for the filters.
        hidden: None to keep personal values.
    """

    store_url: str = field(repr=False)  # may have a password, and engines log what they work on
    filters: Filters
    policy: Policy
    now: datetime
    hidden: Hidden | None

    def __call__(self, piece: Piece) -> Files:
        """Return the files with the events of a piece."""
        from storage import opening, sessions  # noqa: PLC0415  # as above

        with opening.reading(self.store_url) as db:
            within = (piece.first, piece.last)
            found = sessions.newest(db, self.filters, now=self.now, oldest_first=True, within=within)
            return files_of(self._recorded(db, found), self.policy)

    def _recorded(self, db: Connection, found: Iterable[Session]) -> Iterator[tuple[Session, Iterable[Exchange]]]:
        from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser  # noqa: PLC0415  # as above
        from proxy_addon.core.pseudonyms.sessions import masked  # noqa: PLC0415
        from storage import exchanges  # noqa: PLC0415

        change = None if self.hidden is None else Pseudonymiser(self.hidden.key, self.hidden.personal)
        for session in found:
            with closing(exchanges.of_session(db, session.id)) as recorded:
                yield (session, recorded) if change is None else masked(session, recorded, change)


def of_store(
    store_url: str,
    filters: Filters,
    policy: Policy,
    folder: Path,
    *,
    raw: bool,
    key_file: Path | None,
    config: Path | None,
    engine: Engine | None,
    allow_empty: bool,
) -> tuple[int, list[str]]:
    """Write the events of all sessions that pass the filters; return how many sessions these are, and the files."""
    from proxy_addon.files import keys, settings  # noqa: PLC0415  # as above
    from proxy_addon.reporting.progress import ReadingProgress  # noqa: PLC0415
    from storage.auditing import pieces  # noqa: PLC0415

    check_output(folder)
    now = datetime.now(UTC)
    with reading(store_url) as db:
        if not allow_empty:
            require_any(db, filters)
        to_do = list(pieces(db, filters, now))
    hidden = None
    if not raw:
        key = keys.of_output(map(_told, to_do)) if key_file is None else keys.key_of(key_file)
        hidden = Hidden(key=key, personal=settings.load_personal(config))
    work = StoredEvents(
        store_url=store_url if engine is None else engine.store_url(store_url),
        filters=filters,
        policy=policy,
        now=now,
        hidden=hidden,
    )

    def parts() -> Iterator[Files]:
        total = sum(piece.exchanges for piece in to_do)
        with closing(worked(work, to_do, engine=engine)) as found, ReadingProgress(total) as progress:
            for piece, files in zip(to_do, found, strict=True):
                yield files
                progress.advance(piece.exchanges)

    return sum(piece.sessions for piece in to_do), write(folder, parts(), raw=raw)


def _told(piece: Piece) -> str:
    (first, first_id), (last, last_id) = piece.first, piece.last
    return f"{iso(first)} {first_id} {iso(last)} {last_id} {piece.sessions} {piece.exchanges}"


def check_output(folder: Path) -> None:
    """Check that files can be written there, before work is done in vain.

    Raises:
        SettingsError: The folder has something in it.
    """
    from proxy_addon.files import whole  # noqa: PLC0415  # as above

    with extra("--format parquet"):
        from proxy_addon.files import parquet  # noqa: F401, PLC0415
    if str(folder) == "-":
        raise click.UsageError("--format parquet writes a folder of files: name one with --output")
    whole.check_is_free(folder)


def write(folder: Path, parts: Iterable[Files], *, raw: bool) -> list[str]:
    """Write files into a folder, which is whole or not there at all; return their names.

    Raises:
        SettingsError: The folder has something in it, or cannot be written.
    """
    from proxy_addon.files import whole  # noqa: PLC0415  # as above

    names: list[str] = []
    with whole.folder(folder, is_private=raw) as made:
        of_day = Counter[str]()
        for day, content in chain.from_iterable(parts):
            name = f"day={day}/part-{of_day[day]:05}.parquet"
            of_day[day] += 1
            (made / name).parent.mkdir(exist_ok=True)
            whole.write(made / f"{name}{_UNFINISHED}", [content], is_private=raw)
            names.append(name)
        for name in names:
            (made / f"{name}{_UNFINISHED}").rename(made / name)
    return sorted(str(folder / name) for name in names)
