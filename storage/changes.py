"""What has changed in a store since somebody looked, without reading what has not."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from storage.models import FindingRow, SessionRow


def mark(db: Connection) -> str:
    """Return a mark of the state of the store that a transaction sees: as long as it is the same, nothing has changed.

    To get it costs next to nothing. In SQLite, only marks of one connection can be compared: those of a
    `storage.engine.Store` that only one thread uses, and that could be read all the time.
    """
    if db.dialect.name == "sqlite":
        return str(db.exec_driver_sql("PRAGMA data_version").scalar_one())
    # Which transactions it sees: one that has written since, anywhere in the cluster, makes another text.
    return str(db.exec_driver_sql("SELECT pg_current_snapshot()").scalar_one())


def mark_of_session(db: Connection, id: str) -> tuple[Any, ...] | None:
    """Return a mark of one session, with its exchanges and findings; None if there is no such session.

    Args:
        id: Our id of the session.
    """
    row = db.execute(select(SessionRow.__table__).where(SessionRow.id == id)).first()
    if row is None:
        return None
    # Findings that are replaced get new ids.
    findings = select(func.count(), func.max(FindingRow.id)).where(FindingRow.session == id)
    return (*row, *db.execute(findings).one())
