"""PostgreSQL connections: settings made in each transaction, and the encoding of the database.

A database or role may have other defaults, so settings are made. They are made in each transaction, not once for a
connection, because behind a pooler that shares connections (PgBouncer with ``pool_mode = transaction``) each
transaction may run on a different connection, which other programs use too. For the same reason there are no prepared
statements and no session-level locks.

The driver is imported when the first URL of a PostgreSQL database comes, because that takes a tenth of a second.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, Connection, Engine, Float, Integer, LargeBinary, create_engine, event, exc
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeEngine

from storage.patience import PATIENT, Waits
from storage.types import UtcDateTime, codec_in, fitted

if TYPE_CHECKING:
    import psycopg
    from psycopg.abc import RV, PQGen

LOCK_TIMEOUT_S = 30
"""How long a writer waits for others; another process's migration may take that long."""
DEAD_AFTER_MS = 10_000
"""How long a server may leave sent data unacknowledged before the connection counts as dead (``tcp_user_timeout``)."""
CONNECT_TIMEOUT_S = 5
"""How long connecting to PostgreSQL may take, unless the URL sets it."""

WRITER_LOCK = 0x5E5510
"""Key of the advisory lock by which writers take turns; an arbitrary number."""

NO_RIGHT = {"42501", "25006"}
"""SQLSTATEs of errors that another user or another server would not raise: no privilege, a read-only transaction."""

TOO_LARGE = "54000"
"""The SQLSTATE for a value that is too large for an index; trying again does not help."""

_PINNED = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO",  # the only style in which the driver can read times with a zone
    "TimeZone": "UTC",
    "extra_float_digits": "1",  # a number comes back as it was stored
    # A transaction is open for as long as a slow program reads our output, or as a suspended machine sleeps.
    "idle_in_transaction_session_timeout": "0",
}
"""Settings that every transaction relies on."""
_PINNED_SINCE_17 = {"transaction_timeout": "0"}
_BROKEN_OFF = re.compile(r"08|25P0[234]|57P0")
"""Beginnings of the SQLSTATE if the server has ended a connection or a transaction: another attempt may succeed."""

_SCHEME = re.compile(r"^postgres(?:ql)?(?:\+psycopg)?://", re.IGNORECASE)
_SEARCH_PATH = re.compile(r"(?:^|\s)(?:-c\s*|--)search_path=(?P<path>(?:\\.|\S)*)", re.IGNORECASE)
"""In the ``options`` of a connection, where a backslash escapes a blank."""


def is_url(url: str) -> bool:
    """Whether a text is a URL of a PostgreSQL database that libpq understands."""
    if not _SCHEME.match(url):
        return False
    import psycopg

    try:
        port = _conninfo(url).get("port", "")
    except psycopg.ProgrammingError:  # not passed on: its text may quote a piece of the password
        return False
    return re.fullmatch(r"[0-9,]*", str(port)) is not None  # otherwise it is the beginning of a password with a slash


def make_engine(url: str, durable: bool, waits: Waits = PATIENT, *, read_only: bool = False) -> Engine:
    """Return an engine for a database, without connecting to it.

    Args:
        read_only: Whether every statement that would change the database fails.
    """
    import psycopg

    def connect() -> psycopg.Connection[Any]:
        parameters = _conninfo(url)
        parameters.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
        parameters.setdefault("application_name", "sessiontape")
        parameters.setdefault("tcp_user_timeout", DEAD_AFTER_MS)
        parameters["client_encoding"] = _PINNED["client_encoding"]
        kind = psycopg.Connection if waits.answer_s is None else _impatient(waits.answer_s, waits.disk_s)
        return kind.connect(**parameters, prepare_threshold=None)

    engine = create_engine("postgresql+psycopg://", creator=connect, pool_pre_ping=True)
    pinned = _PINNED | {"synchronous_commit": "on" if durable else "off"}
    if read_only:
        pinned["transaction_read_only"] = "on"

    @event.listens_for(engine, "connect")
    def learn(db: psycopg.Connection[Any], entry: ConnectionPoolEntry) -> None:
        newer = _PINNED_SINCE_17 if db.info.server_version >= 170000 else {}
        entry.info["sessiontape_pinned"] = pinned | newer | {"search_path": _given_search_path(db)}
        encoding = db.info.parameter_status("server_encoding") or "UTF8"
        engine.dialect.sessiontape_codec = codec_for(encoding)  # type: ignore[attr-defined]

    @event.listens_for(engine, "begin")
    def begin(db: Connection) -> None:
        settings: dict[str, str] = db.info["sessiontape_pinned"]
        calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
        db.exec_driver_sql(f"SELECT {calls}", tuple(part for setting in settings.items() for part in setting))

    return engine


@lru_cache
def _impatient(answer_s: float, disk_s: float) -> type[psycopg.Connection[Any]]:
    """Return the connection that gives up on a server which does not answer: its timeouts need a server that works."""
    import psycopg

    class Impatient(psycopg.Connection[Any]):
        sessiontape_answer_s = answer_s

        def wait(self, gen: PQGen[RV], *args: Any, **options: Any) -> RV:
            longest_s = self.sessiontape_answer_s
            try:
                return super().wait(_answered(gen, longest_s), *args, **options)
            except TimeoutError as e:
                self.pgconn.finish()
                raise psycopg.OperationalError(f"the server did not answer for {longest_s:g} s") from e

        def commit(self) -> None:
            with patiently(self, disk_s):
                super().commit()

    return Impatient


@contextmanager
def patiently(raw: Any, disk_s: float) -> Iterator[None]:
    """Give the server more time in the block, if its connection is one that has little patience."""
    before = getattr(raw, "sessiontape_answer_s", None)
    if before is None:
        yield
        return
    raw.sessiontape_answer_s = max(before, disk_s)
    try:
        yield
    finally:
        raw.sessiontape_answer_s = before


def _answered(gen: PQGen[RV], answer_s: float) -> PQGen[RV]:
    """Pass on what a step of the driver waits for, and raise TimeoutError once nothing has come for too long."""
    since_s = time.monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            now_s = time.monotonic()
            if ready:  # the driver also goes on with nothing, several times a second
                since_s = now_s
            elif now_s - since_s >= answer_s:
                raise TimeoutError
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def take_turn(db: Connection, waits: Waits = PATIENT) -> None:
    """Wait until no other process writes, then keep other writers waiting until the transaction ends."""
    lock_s = LOCK_TIMEOUT_S if waits.lock_s is None else waits.lock_s
    db.exec_driver_sql(f"SET LOCAL lock_timeout = '{max(1, round(lock_s * 1000))}ms'")
    db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")


def try_lock(db: Connection, key: int) -> bool:
    """Take a lock for as long as the transaction lasts; False if another process has it."""
    return bool(db.exec_driver_sql("SELECT pg_try_advisory_xact_lock(%s)", (key,)).scalar())


def type_of(type: TypeEngine[Any]) -> str:
    """Return the name of the PostgreSQL type in which values of a column are sent; all kinds of text are sent alike."""
    for kind, name in _TYPES:
        if isinstance(type, kind):
            return name
    return "text"


_TYPES: tuple[tuple[type[Any], str], ...] = (
    (UtcDateTime, "timestamptz"),
    (BigInteger, "int8"),
    (Integer, "int4"),
    (Float, "float8"),
    (Boolean, "bool"),
    (LargeBinary, "bytea"),
)


def copy(db: Connection, statement: str, types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Send rows to a ``COPY … FROM STDIN (FORMAT BINARY)``.

    Args:
        types: Names of the types of the columns.
        rows: Values as the driver takes them; text is made to fit the database as that of other statements is.

    Raises:
        sqlalchemy.exc.DBAPIError: The database refuses a value, or the connection is broken.
    """
    import psycopg

    raw: psycopg.Connection[Any] = db.connection.driver_connection  # type: ignore[assignment]
    codec = codec_in(db)
    try:
        with raw.cursor() as cursor, cursor.copy(statement.encode()) as stream:
            stream.set_types(types)
            for row in rows:
                stream.write_row(row if codec == "utf-8" else fitted(row, codec))
    except psycopg.Error as e:
        is_gone = db.dialect.is_disconnect(e, raw, None)  # type: ignore[arg-type]  # psycopg's connection is its own
        if is_gone:
            db.invalidate(e)
        raise exc.DBAPIError.instance(
            statement, None, e, psycopg.Error, connection_invalidated=is_gone, dialect=db.dialect
        ) from e


def state(error: BaseException | None) -> str:
    """Return the SQLSTATE of an error of the driver; empty if it has none, as errors of other drivers."""
    return getattr(error, "sqlstate", None) or ""


def is_broken_off(error: BaseException | None) -> bool:
    """Whether an error says that the server has ended the connection or the transaction."""
    return _BROKEN_OFF.match(state(error)) is not None


def codec_for(encoding: str) -> str:
    """Return the Python codec with the characters that a database of this encoding can hold.

    >>> codec_for("UTF8"), codec_for("LATIN1"), codec_for("WIN1251"), codec_for("KOI8R")
    ('utf-8', 'iso8859-1', 'cp1251', 'koi8-r')
    >>> codec_for("SQL_ASCII")  # takes any bytes
    'utf-8'
    >>> codec_for("EUC_TW")  # unknown to Python; ASCII is part of every encoding of PostgreSQL
    'ascii'
    """
    if encoding == "SQL_ASCII":
        return "utf-8"
    name = re.sub(r"^KOI8(?=.$)", "KOI8_", re.sub(r"^WIN", "CP", encoding))
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "ascii"


def hint(error: str, *, reads_only: bool = False) -> str:
    """Return what to do about a connection error.

    >>> hint("connection refused"), hint("connection refused", reads_only=True)
    ('is it running, and may you write there?', 'is it running, and may you read there?')
    """
    usual = f"is it running, and may you {'read' if reads_only else 'write'} there?"
    return next((hint for part, hint in _HINTS.items() if part in error), usual)


_HINTS = {
    "unsupported startup parameter": (
        "a pooler refuses what the URL says in 'options': give it to the role instead, ALTER ROLE … SET …, "
        "or connect to the server itself"
    ),
    "statement pooling": "the pooler must keep a transaction together: pool_mode = transaction, or session",
    "query_wait_timeout": (
        "the pooler has no connection left; each replay occupies one for as long as it runs: raise default_pool_size"
    ),
    "conversion between": "make a database with ENCODING 'UTF8'",
}
"""By a part of the message of PostgreSQL or PgBouncer."""


def _given_search_path(db: psycopg.Connection[Any]) -> str:
    """Return the search path that the URL's options, the role or the database set.

    The one in force may differ: a pooler may drop the options, or hand over a connection on which another program has
    set its own.
    """
    found = _SEARCH_PATH.findall(db.pgconn.options.decode())
    if found:
        return re.sub(r"\\(.)", r"\1", found[-1])
    row = db.execute("SELECT reset_val FROM pg_settings WHERE name = 'search_path'").fetchone()
    db.rollback()
    return str(row[0]) if row else ""


def _conninfo(url: str) -> dict[str, Any]:
    # libpq reads the URL itself: sockets, several hosts and TLS settings mean what they mean everywhere.
    from psycopg.conninfo import conninfo_to_dict

    return conninfo_to_dict(_SCHEME.sub("postgresql://", url))
