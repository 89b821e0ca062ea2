"""Store what a file holds, as if it had been recorded: sessions, their exchanges and their findings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import batched
from operator import attrgetter

from sqlalchemy import Connection, select

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding
from proxy_addon.core.fixtures.held import may_go_on
from proxy_addon.core.sessions import Session
from proxy_addon.core.timelines.strips import StripWatch
from storage import exchanges, findings, sessions
from storage.engine import Store
from storage.models import Recording
from storage.saving import Judged, RecordingRun, save_batch

AT_ONCE = 500
"""How many exchanges one transaction stores."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

JudgeExchange = Callable[[Exchange], Sequence[Finding]]
JudgeSession = Callable[[Session, str | None, Iterable[Exchange]], Sequence[Finding]]
"""Gets a session, our id of another session of the same playback (see `storage.sessions.opened_beside`), and the
exchanges by time of arrival; returns the findings of the session as a whole."""


@dataclass(slots=True, kw_only=True)
class Imported:
    """How much was imported so far. What a file holds that was imported from it before counts, too.

    Attributes:
        elsewhere: How many of the sessions the store has from elsewhere, too: recorded, or from another file.
    """

    sessions: int = 0
    events: int = 0
    exchanges: int = 0
    elsewhere: int = 0


def earlier(db: Connection, file_sha256: str) -> RecordingRun | None:
    """Return the import of a file with the same content; None if there was none."""
    query = select(Recording).where(Recording.file_sha256 == file_sha256).order_by(Recording.started_at)
    row = db.execute(query.with_only_columns(*Recording.__table__.columns).limit(1)).mappings().first()
    if row is None:
        return None
    return RecordingRun(
        id=row["id"],
        name=row["name"],
        started_at=row["started_at"],
        version=row["version"],
        checks=row["checked"],
        pseudonymised=row["pseudonymised"],
        imported_from=row["imported_from"],
        file_sha256=row["file_sha256"],
    )


def store_file(
    store: Store,
    run: RecordingRun,
    found: Iterable[Exchange],
    judge_exchange: JudgeExchange,
    judge_session: JudgeSession,
    *,
    is_cut_off: Callable[[], bool] = lambda: False,
) -> Iterator[Imported]:
    """Store the exchanges of a file in batches; yield how much has been imported after each.

    An exchange has the same id each time the same file is imported, so that nothing is stored twice, and an import that
    was interrupted can be repeated. Exchanges need not come in order.

    Args:
        is_cut_off: Tells, when all exchanges were read, whether the file ends in the middle, so that sessions may go on.

    Raises:
        StorageUnavailable: The store cannot be reached or written.
    """
    done = Imported()
    touched: dict[str, None] = {}
    last_at: datetime | None = None
    numbered = (replace(exchange, id=_id(run, number, exchange)) for number, exchange in enumerate(found))
    for batch in batched(numbered, AT_ONCE):
        judged = [Judged(each, tuple(judge_exchange(each))) for each in sorted(batch, key=attrgetter("received_at"))]
        saved = save_batch(store, run, judged)
        touched |= dict.fromkeys(each.session.id for each in saved.touched)
        newest_at = max(each.received_at for each in batch)
        last_at = newest_at if last_at is None else max(last_at, newest_at)
        done.exchanges += len(batch)
        yield done
    cut_at = last_at if is_cut_off() else None
    for some in batched(touched, AT_ONCE):
        _judge(store, some, judge_session, done, cut_at)
        yield done


def _judge(store: Store, ids: Sequence[str], judge: JudgeSession, done: Imported, cut_at: datetime | None) -> None:
    with store.read() as db:
        found: list[tuple[str, Sequence[Finding]]] = []
        strips: dict[str, str] = {}
        going_on: list[str] = []
        for session in sessions.get(db, list(ids)):
            if may_go_on(session, cut_at):
                going_on.append(session.id)
                session = replace(session, has_holes=True)  # noqa: PLW2901  # as it will be stored
            beside = sessions.opened_beside(db, session)
            watch = StripWatch()
            stored = watch.watching(exchanges.of_session(db, session.id), findings.of_exchanges(db, session.id))
            of_session = judge(session, beside, stored)
            found.append((session.id, of_session))
            strips[session.id] = watch.strip(of_session).text
            done.sessions += 1
            done.events += session.events
        done.elsewhere += sessions.number_stored_twice(db, [id for id, _ in found])
    with store.write() as db:
        for id, of_session in found:
            findings.replace_of_session(db, id, of_session)
        sessions.draw(db, strips)
        sessions.note_holes(db, going_on)


def _id(run: RecordingRun, number: int, exchange: Exchange) -> str:
    """Return an id that sorts by time, as a recorder's do."""
    microseconds = max(0, (exchange.received_at - _EPOCH) // timedelta(microseconds=1))
    told = hashlib.sha256(f"{run.file_sha256} {number}".encode()).hexdigest()
    return f"{microseconds:016x}{told[:16]}"
