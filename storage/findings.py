"""Findings in the store: of exchanges, stored with them, and of sessions as a whole, replaced as they change.

That an exchange was not judged yet is another thing than that nothing was found of it: it has a mark of its own, as a
session has whose findings are due.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from proxy_addon.core.findings import Finding, Severity, Verdict
from storage.models import ExchangeRow, FindingRow, SessionRow, UnjudgedRow

_IDS_IN_A_STATEMENT = 500


def to_row(finding: Finding, *, session: str | None, exchange_id: str | None) -> dict[str, Any]:
    """Return the row of a finding.

    Args:
        session: Our id of the session it belongs to.
        exchange_id: Of the exchange it is about; None for one about the session as a whole.
    """
    return {
        "session": session,
        "exchange_id": exchange_id,
        "rule": finding.rule,
        "severity": finding.severity.value,
        "message": finding.message,
        "pointer": finding.pointer,
        "seq": finding.seq,
        "count": finding.count,
        "others": finding.others,
        "until_seq": finding.until_seq,
        "lowered_by": finding.lowered_by,
        "authority": finding.authority,
    }


def from_row(row: RowMapping) -> Finding:
    """Return the finding in a row."""
    return Finding(
        rule=row["rule"],
        severity=Severity(row["severity"]),
        message=row["message"],
        pointer=row["pointer"],
        seq=row["seq"],
        count=row["count"],
        others=row["others"],
        until_seq=row["until_seq"],
        lowered_by=row["lowered_by"],
        authority=row["authority"],
    )


def add(db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store rows made by `to_row`."""
    if rows:
        db.execute(insert(FindingRow), [dict(row) for row in rows])


def mark_unjudged(db: Connection, exchange_ids: Sequence[str]) -> None:
    """Mark exchanges that are stored before they are judged."""
    if exchange_ids:
        db.execute(insert(UnjudgedRow), [{"exchange_id": id} for id in exchange_ids])


def unjudged(db: Connection) -> list[str]:
    """Return the ids of all exchanges that have such a mark, oldest first."""
    return list(db.execute(select(UnjudgedRow.exchange_id).order_by(UnjudgedRow.exchange_id)).scalars())


def of_exchanges(db: Connection, session: str | None) -> dict[str, Verdict]:
    """Return what was found of exchanges when they were recorded, by the exchange's id.

    Those of which nothing was found are left out; those that nobody has judged yet are there, with None.

    Args:
        session: Our id of the session whose exchanges are meant; None for those that belong to none.
    """
    query = select(FindingRow.__table__).where(FindingRow.exchange_id.is_not(None)).order_by(FindingRow.id)
    if session is None:
        outside = select(ExchangeRow.id).where(ExchangeRow.session.is_(None))
        query = query.where(FindingRow.session.is_(None), FindingRow.exchange_id.in_(outside))
    else:
        query = query.where(FindingRow.session == session)
    found: dict[str, list[Finding]] = {}
    for row in db.execute(query).mappings():
        found.setdefault(row["exchange_id"], []).append(from_row(row))
    marked = select(UnjudgedRow.exchange_id).join(ExchangeRow, ExchangeRow.id == UnjudgedRow.exchange_id)
    waiting = db.execute(marked.where(ExchangeRow.session == session)).scalars()  # None becomes IS NULL
    return {**dict.fromkeys(waiting), **found}


def of_session(db: Connection, session: str) -> list[Finding]:
    """Return what was found last of a session as a whole."""
    mine = FindingRow.session == session
    query = select(FindingRow.__table__).where(mine, FindingRow.exchange_id.is_(None)).order_by(FindingRow.id)
    return [from_row(row) for row in db.execute(query).mappings()]


def replace_of_session(db: Connection, session: str, findings: Iterable[Finding]) -> bool:
    """Put findings about a session as a whole in the place of those before, and keep its counts right.

    To be called in a transaction of `storage.engine.Store.write`.

    Returns:
        Whether the session is still there.
    """
    return _replace(db, session, None, list(findings))


def replace_of_exchange(db: Connection, exchange_id: str, findings: Iterable[Finding]) -> bool:
    """Put findings about an exchange in the place of those before, and keep the counts of its session right.

    From now on it counts as judged.

    To be called in a transaction of `storage.engine.Store.write`.

    Returns:
        Whether the exchange is still there.
    """
    db.execute(delete(UnjudgedRow).where(UnjudgedRow.exchange_id == exchange_id))
    row = db.execute(select(ExchangeRow.session).where(ExchangeRow.id == exchange_id)).first()
    return row is not None and _replace(db, row.session, exchange_id, list(findings))


def no_longer_due(db: Connection, judged: Iterable[tuple[str, int]]) -> None:
    """Take the mark from sessions that were judged to the end.

    To be called in a transaction of `storage.engine.Store.write`.

    Args:
        judged: Our ids, with the number of exchanges that were judged: one that has more by now keeps its mark.
    """
    table = SessionRow.__table__
    same = (table.c.id == bindparam("_id"), table.c.exchanges == bindparam("_exchanges"))
    rows = [{"_id": id, "_exchanges": exchanges} for id, exchanges in judged]
    if rows:
        db.execute(update(table).where(*same).values(findings_due=False), rows)  # type: ignore[arg-type]


def _replace(db: Connection, session: str | None, exchange_id: str | None, new: Sequence[Finding]) -> bool:
    same = (FindingRow.session == session, FindingRow.exchange_id == exchange_id)  # None becomes IS NULL
    change = dict.fromkeys(Severity, 0)
    for severity in db.execute(select(FindingRow.severity).where(*same)).scalars():
        change[Severity(severity)] -= 1
    for finding in new:
        change[finding.severity] += 1
    errors = SessionRow.errors + change[Severity.ERROR]
    warnings = SessionRow.warnings + change[Severity.WARNING]
    infos = SessionRow.infos + change[Severity.INFO]
    statement = (
        update(SessionRow)
        .where(SessionRow.id == session)
        .values(errors=errors, warnings=warnings, infos=infos, has_findings=(errors + warnings + infos) > 0)
    )
    if session is not None and db.execute(statement).rowcount == 0:
        return False
    db.execute(delete(FindingRow).where(*same))
    add(db, [to_row(finding, session=session, exchange_id=exchange_id) for finding in new])
    return True
