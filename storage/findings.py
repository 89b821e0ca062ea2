"""Findings in the store: those of exchanges, and those of sessions as a whole, which are replaced as a session grows.

An exchange without findings may have been judged or not. One that still has to be judged is marked, as is a session
whose findings are due. A recording whose recorder does not judge is marked as a whole; nobody judges it later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import batched
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, bindparam, delete, func, insert, select, update

from proxy_addon.core.findings import Finding, Severity, Verdict
from storage import bulk
from storage.models import ExchangeRow, FindingRow, Recording, SessionRow, UnjudgedRow

_TABLE: Table = FindingRow.__table__  # type: ignore[assignment]
_SESSIONS: Table = SessionRow.__table__  # type: ignore[assignment]
_IDS_IN_A_STATEMENT = 500
_COLUMN_OF = {Severity.ERROR: "errors", Severity.WARNING: "warnings", Severity.INFO: "infos"}
_COUNTS = (SessionRow.id, SessionRow.errors, SessionRow.warnings, SessionRow.infos, SessionRow.has_findings)


def to_row(finding: Finding, *, session: str | None, exchange_id: str | None) -> dict[str, Any]:
    """Return the row of a finding.

    Args:
        session: Our id of the session it belongs to; None if it belongs to none.
        exchange_id: Id of the exchange it is about; None for a finding about the session as a whole.
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
    """Store rows that `to_row` made."""
    bulk.of(db).insert(_TABLE, rows)


def mark_unjudged(db: Connection, exchange_ids: Sequence[str]) -> None:
    """Mark exchanges that are stored before they are judged."""
    if exchange_ids:
        db.execute(insert(UnjudgedRow), [{"exchange_id": id} for id in exchange_ids])


def unjudged(db: Connection) -> list[str]:
    """Return the ids of all exchanges that still have to be judged, sorted by id."""
    return list(db.execute(select(UnjudgedRow.exchange_id).order_by(UnjudgedRow.exchange_id)).scalars())


def of_exchanges(db: Connection, session: str | None) -> dict[str, Verdict]:
    """Return the stored findings of exchanges, by exchange id.

    An exchange in which nothing was found is left out. One that was not judged has None: it still has to be, or its
    recorder does not judge.

    Args:
        session: Our id of the session whose exchanges are meant; None for exchanges without a session.
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
    unchecked = select(ExchangeRow.id).join(Recording, Recording.id == ExchangeRow.recording_id)
    passed_over = db.execute(unchecked.where(ExchangeRow.session == session, Recording.checked.is_(False))).scalars()
    return {**dict.fromkeys(waiting), **dict.fromkeys(passed_over), **found}


def of_session(db: Connection, session: str) -> list[Finding]:
    """Return the stored findings of a session as a whole."""
    mine = FindingRow.session == session
    query = select(FindingRow.__table__).where(mine, FindingRow.exchange_id.is_(None)).order_by(FindingRow.id)
    return [from_row(row) for row in db.execute(query).mappings()]


def replace_of_session(db: Connection, session: str, findings: Iterable[Finding]) -> bool:
    """Replace the findings of a session as a whole, and update its counts.

    Call it in a transaction of `storage.engine.Store.write`.

    Returns:
        Whether the session still exists.
    """
    return _replace(db, session, None, list(findings))


def replace_of_sessions(db: Connection, found: Mapping[str, Sequence[Finding]]) -> set[str]:
    """Replace the findings of sessions as wholes, by our ids, as `replace_of_session` does, in a few statements for all.

    Returns:
        The ids of those sessions that still exist.
    """
    existing: set[str] = set()
    for some in batched(found, _IDS_IN_A_STATEMENT):
        counts = {
            row["id"]: dict(row) for row in db.execute(select(*_COUNTS).where(SessionRow.id.in_(some))).mappings()
        }
        mine = (FindingRow.session.in_(counts), FindingRow.exchange_id.is_(None))
        severities = select(FindingRow.session, FindingRow.severity, func.count()).where(*mine)
        change = {id: Counter(finding.severity.value for finding in found[id]) for id in counts}
        stored = db.execute(severities.group_by(FindingRow.session, FindingRow.severity)).all()
        for session, severity, number in stored:
            change[session or ""][severity] -= number
        if stored:
            db.execute(delete(FindingRow).where(*mine))
        add(db, [to_row(finding, session=id, exchange_id=None) for id in counts for finding in found[id]])
        _count(db, counts, change)
        existing.update(counts)
    return existing


def _count(db: Connection, counts: Mapping[str, dict[str, Any]], change: Mapping[str, Mapping[str, int]]) -> None:
    """Update the counts of sessions.

    Args:
        counts: What they are, by our id, with the columns of `_COUNTS`.
        change: By how much the number of each severity changes.
    """
    kept: list[dict[str, Any]] = []
    turned: list[dict[str, Any]] = []
    for id, row in counts.items():
        now = {name: row[name] + change[id].get(severity.value, 0) for severity, name in _COLUMN_OF.items()}
        had = row.pop("has_findings")
        has = any(now.values())
        if now.items() <= row.items():
            continue
        (kept if has == had else turned).append({"id": id, **now, "has_findings": has})
    names = tuple(_COLUMN_OF.values())
    bulk.of(db).update(_SESSIONS, kept, names)
    bulk.of(db).update(_SESSIONS, turned, (*names, "has_findings"))


def replace_of_exchange(db: Connection, exchange_id: str, findings: Iterable[Finding]) -> bool:
    """Replace the findings of an exchange, mark it as judged, and update the counts of its session.

    Call it in a transaction of `storage.engine.Store.write`.

    Returns:
        Whether the exchange still exists.
    """
    db.execute(delete(UnjudgedRow).where(UnjudgedRow.exchange_id == exchange_id))
    row = db.execute(select(ExchangeRow.session).where(ExchangeRow.id == exchange_id)).first()
    return row is not None and _replace(db, row.session, exchange_id, list(findings))


def mark_due(db: Connection, sessions: Mapping[str, bool]) -> None:
    """Mark sessions whose findings are due, and remove the marks of those whose findings are complete.

    Call it in a transaction of `storage.engine.Store.write`.

    Args:
        sessions: By our id, whether its findings are due.
    """
    table = SessionRow.__table__
    for is_due in (True, False):
        ids = [id for id, each in sessions.items() if each is is_due]
        for place in range(0, len(ids), _IDS_IN_A_STATEMENT):
            some = table.c.id.in_(ids[place : place + _IDS_IN_A_STATEMENT])
            db.execute(update(table).where(some).values(findings_due=is_due))  # type: ignore[arg-type]


def no_longer_due(db: Connection, judged: Iterable[tuple[str, int]]) -> None:
    """Remove the mark that findings are due from sessions that have been judged completely.

    Call it in a transaction of `storage.engine.Store.write`.

    Args:
        judged: Our ids, with the number of exchanges judged; a session that has more by now keeps its mark.
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
