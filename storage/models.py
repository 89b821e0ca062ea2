"""The tables. ``docs/store.md`` explains them, ``migrations/`` creates them, and a test compares the two."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    false,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from proxy_addon.core.exchange import Headers
from proxy_addon.core.findings import Place
from storage.types import HeaderList, Label, PlaceList, PlainText, UtcDateTime, WireText

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

PREFIX_LENGTH = 64
"""How much of a back-end ID is indexed for look-ups by prefix; IDs seen have 64 characters."""


def _bytewise(length: int) -> String:
    """Text that sorts by code point on both engines, so that an index can find values by prefix."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


_ID = _bytewise(32)


class Base(DeclarativeBase):
    """Base of all tables; its metadata is the schema."""

    metadata = MetaData(naming_convention=NAMING)


class Recording(Base):
    """One run of a recorder from which exchanges were stored, or one import of a file, which has its name and hash."""

    __tablename__ = "recordings"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    name: Mapped[str | None] = mapped_column(Label)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    version: Mapped[str] = mapped_column(String(64))
    checked: Mapped[bool] = mapped_column(Boolean, server_default=true())
    pseudonymised: Mapped[bool] = mapped_column(Boolean, server_default=false())
    imported_from: Mapped[str | None] = mapped_column(Label)
    file_sha256: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (Index(None, "name"), Index(None, "file_sha256"))


class SessionRow(Base):
    """One playback, folded from its exchanges as they arrive; `proxy_addon.core.sessions.Session` explains the columns.

    ``state`` is the lasting state: whether an open session has expired is determined when it is read.
    ``recording`` repeats the recording's name, so that one index can hold it beside the time.
    ``session_key`` is the SHA-256 of upstream and back-end ID, by which an ID of any length can be looked up.
    ``occurrence`` counts, from 0, the sessions to which one upstream gave the same ID.
    ``findings_due`` marks a session that its recorder has not judged completely; the next recorder does.
    ``strip`` is null in sessions that were not judged while they were stored, or by a version before revision 0012.
    """

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    recording_id: Mapped[str] = mapped_column(ForeignKey("recordings.id"))
    recording: Mapped[str | None] = mapped_column(Label)
    upstream: Mapped[str] = mapped_column(Label)
    session_id: Mapped[str | None] = mapped_column(WireText)
    session_prefix: Mapped[str | None] = mapped_column(_bytewise(PREFIX_LENGTH))
    session_key: Mapped[str | None] = mapped_column(String(64))
    occurrence: Mapped[int] = mapped_column(Integer)
    retry_of: Mapped[str | None] = mapped_column(_ID)
    start_sha256: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_event_at: Mapped[datetime] = mapped_column(UtcDateTime)
    playhead_s: Mapped[float | None] = mapped_column(Float(53))
    playhead_moved_at: Mapped[datetime] = mapped_column(UtcDateTime)
    start_seen: Mapped[bool] = mapped_column(Boolean)
    failed: Mapped[bool] = mapped_column(Boolean)
    ended: Mapped[bool] = mapped_column(Boolean)
    completed: Mapped[bool] = mapped_column(Boolean)
    player_name: Mapped[str | None] = mapped_column(Label)
    media_id: Mapped[str | None] = mapped_column(Label)
    media_name: Mapped[str | None] = mapped_column(Label)
    content_type: Mapped[str | None] = mapped_column(Label)
    app_version: Mapped[str | None] = mapped_column(Label)
    library_version: Mapped[str | None] = mapped_column(Label)
    user_agent: Mapped[str | None] = mapped_column(Label)
    client_address: Mapped[str | None] = mapped_column(Label)
    exchanges: Mapped[int] = mapped_column(Integer)
    events: Mapped[int] = mapped_column(Integer)
    has_holes: Mapped[bool] = mapped_column(Boolean, server_default=false())
    pseudonymised: Mapped[bool] = mapped_column(Boolean, server_default=false())
    lost: Mapped[int] = mapped_column(Integer, server_default="0")
    not_accepted: Mapped[int] = mapped_column(Integer, server_default="0")
    strip: Mapped[str | None] = mapped_column(Text)
    errors: Mapped[int] = mapped_column(Integer)
    warnings: Mapped[int] = mapped_column(Integer)
    infos: Mapped[int] = mapped_column(Integer)
    has_findings: Mapped[bool] = mapped_column(Boolean)
    findings_due: Mapped[bool] = mapped_column(Boolean, server_default=false())

    __table_args__ = (
        Index(None, "session_key", "occurrence", unique=True),
        Index(None, "session_prefix"),
        Index(None, "start_sha256", "started_at"),
        Index(None, "retry_of"),
        # Each filter has an index that also gives the order of the list, so that the database need not sort.
        Index(None, "started_at", "id"),
        Index(None, "recording", "started_at", "id"),
        Index(None, "state", "started_at", "id"),
        Index(None, "state", "last_event_at"),  # finds the few sessions still open among all that were never closed
        Index(None, "player_name", "started_at", "id"),
        Index(None, "media_id", "started_at", "id"),
        Index(None, "media_name", "started_at", "id"),
        Index(None, "user_agent", "started_at", "id"),
        Index(None, "has_findings", "started_at", "id"),
        Index(None, "upstream"),
        Index(None, "findings_due"),
    )


class ExchangeRow(Base):
    """One request and its outcome. Bodies are the bytes of the wire.

    ``event_type``, ``playhead_s`` and ``ts_ms`` repeat what the body says, for people who query the store themselves;
    they are null for batches. The commands read the body.
    ``reason`` is that of the status line; ``why`` says why there was no answer.
    ``request_length`` and ``response_length`` are those of whole bodies of which only the beginning is stored, and so are
    the hashes then; null for all other bodies.
    """

    __tablename__ = "exchanges"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    recording_id: Mapped[str] = mapped_column(ForeignKey("recordings.id"))
    session: Mapped[str | None] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    upstream: Mapped[str] = mapped_column(Label)
    operation: Mapped[str] = mapped_column(String(16))
    outcome: Mapped[str] = mapped_column(String(24))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    duration_us: Mapped[int | None] = mapped_column(BigInteger)
    client_address: Mapped[str | None] = mapped_column(Label)
    user_agent: Mapped[str | None] = mapped_column(Label)
    event_type: Mapped[str | None] = mapped_column(Label)
    playhead_s: Mapped[float | None] = mapped_column(Float(53))
    ts_ms: Mapped[int | None] = mapped_column(BigInteger)
    method: Mapped[str] = mapped_column(WireText)
    path: Mapped[str] = mapped_column(WireText)
    request_version: Mapped[str] = mapped_column(String(16))
    request_headers: Mapped[Headers] = mapped_column(HeaderList)
    request_body: Mapped[bytes] = mapped_column(LargeBinary)
    request_sha256: Mapped[str] = mapped_column(String(64))
    request_complete: Mapped[bool] = mapped_column(Boolean)
    body_state: Mapped[str] = mapped_column(String(16), server_default="exact")
    request_length: Mapped[int | None] = mapped_column(BigInteger)
    status: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(WireText)
    response_version: Mapped[str | None] = mapped_column(String(16))
    response_headers: Mapped[Headers | None] = mapped_column(HeaderList)
    response_body: Mapped[bytes | None] = mapped_column(LargeBinary)
    response_sha256: Mapped[str | None] = mapped_column(String(64))
    response_length: Mapped[int | None] = mapped_column(BigInteger)
    why: Mapped[str | None] = mapped_column(PlainText)
    note: Mapped[str | None] = mapped_column(PlainText)

    __table_args__ = (
        # For a session's exchanges in order, and for those without a session, newest first.
        Index(None, "session", "received_at", "id"),
        Index(None, "recording_id"),
    )


class FindingRow(Base):
    """One finding: of an exchange, or of a session as a whole if ``exchange_id`` is null.

    ``seq`` is stored for findings of a session as a whole; that of an exchange's finding is determined when it is read.
    """

    __tablename__ = "findings"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    session: Mapped[str | None] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    exchange_id: Mapped[str | None] = mapped_column(ForeignKey("exchanges.id", ondelete="CASCADE"))
    rule: Mapped[str] = mapped_column(String(64))
    severity: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Label)
    pointer: Mapped[str | None] = mapped_column(PlainText)
    seq: Mapped[int | None] = mapped_column(Integer)
    count: Mapped[int] = mapped_column(Integer)
    others: Mapped[tuple[Place, ...]] = mapped_column(PlaceList, nullable=True)
    until_seq: Mapped[int | None] = mapped_column(Integer)
    lowered_by: Mapped[str | None] = mapped_column(String(64))
    authority: Mapped[str] = mapped_column(Label, server_default="built-in")

    __table_args__ = (
        Index(None, "session"),
        Index(None, "exchange_id"),
        Index(None, "rule", "id", "session"),  # finds the sessions that broke a rule last
    )


class UnjudgedRow(Base):
    """An exchange that was stored but not judged yet. If its recorder stops before, the next recorder judges it."""

    __tablename__ = "unjudged"

    exchange_id: Mapped[str] = mapped_column(ForeignKey("exchanges.id", ondelete="CASCADE"), primary_key=True)


class RecorderRow(Base):
    """The books of one process of a recorder run; a run has as many as ``--workers``, numbered from 0.

    ``id`` is that of the run's row in ``recordings``, which exists only if exchanges were stored.
    ``ended_at`` is null while it runs, and for ever if it was killed; ``seen_at`` is its last sign of life.
    ``seen`` counts the exchanges that came in, ``journaled`` those in the journal, ``filed`` those stored, ``late`` those
    of them that were stored after the process had ended, ``refused`` those that the store would not take, and
    ``dropped`` those that could not be journaled. In balanced books, seen = journaled + dropped and
    journaled = filed + refused.
    """

    __tablename__ = "recorders"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    worker: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str | None] = mapped_column(Label)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[str] = mapped_column(String(64))
    engine: Mapped[str] = mapped_column(String(16))
    upstream: Mapped[str | None] = mapped_column(Label)
    seen: Mapped[int] = mapped_column(BigInteger, server_default="0")
    journaled: Mapped[int] = mapped_column(BigInteger, server_default="0")
    filed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    late: Mapped[int] = mapped_column(BigInteger, server_default="0")
    refused: Mapped[int] = mapped_column(BigInteger, server_default="0")
    dropped: Mapped[int] = mapped_column(BigInteger, server_default="0")

    __table_args__ = (Index(None, "started_at"),)


class LossRow(Base):
    """An exchange that was seen and is not stored: it could not be journaled, or the store would not take it.

    ``id`` is that of the exchange. ``session_key`` is that of the session it belongs to, as far as its path tells, and
    ``session`` that session, once it is stored.
    ``is_refused`` tells that the store would not take it; then it is kept beside the journal, set aside.
    """

    __tablename__ = "losses"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    recorder_id: Mapped[str] = mapped_column(_ID)
    session_key: Mapped[str | None] = mapped_column(String(64))
    session: Mapped[str | None] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    upstream: Mapped[str] = mapped_column(Label)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    method: Mapped[str] = mapped_column(WireText)
    path: Mapped[str] = mapped_column(WireText)
    is_refused: Mapped[bool] = mapped_column(Boolean)
    reason: Mapped[str] = mapped_column(PlainText)

    __table_args__ = (Index(None, "session_key"), Index(None, "session"), Index(None, "recorder_id"))


class ServerRow(Base):
    """An address that an upstream's name led to while recording; a replay must not reach it by another name."""

    __tablename__ = "servers"

    upstream: Mapped[str] = mapped_column(Label, primary_key=True)
    address: Mapped[str] = mapped_column(String(64), primary_key=True)
    port: Mapped[int] = mapped_column(Integer, primary_key=True)


class SchemaRow(Base):
    """One version of the JSON schema that an upstream gave for an event type."""

    __tablename__ = "schemas"

    upstream: Mapped[str] = mapped_column(Label, primary_key=True)
    event_type: Mapped[str] = mapped_column(Label, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RunRow(Base):
    """One replay run. ``settings`` is what else `replay --resume` needs, as JSON.

    ``exit_code`` is the command's exit code; null while it runs, and if it was killed.
    """

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    target: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    speed: Mapped[str] = mapped_column(String(32))
    timestamps: Mapped[str] = mapped_column(String(64))
    settings: Mapped[str] = mapped_column(Text, server_default="{}")
    exit_code: Mapped[int | None] = mapped_column(Integer)

    __table_args__ = (Index(None, "started_at"),)


class RunChangeRow(Base):
    """One change of a replay run. ``change`` is the change as JSON; ``places`` counts the places that it changed."""

    __tablename__ = "run_changes"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    option: Mapped[str] = mapped_column(WireText)
    change: Mapped[str] = mapped_column(Text)
    places: Mapped[int] = mapped_column(Integer)


class RunSessionRow(Base):
    """One session of a replay run. ``source`` is no foreign key, so that deleting the session keeps the run.

    ``state`` goes from ``waiting`` to ``begun``, which is committed before anything is sent, and then to ``ended``.
    ``announced`` is how many of its steps, in the order of sending, may have been sent.
    """

    __tablename__ = "run_sessions"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    source: Mapped[str] = mapped_column(_ID)
    session_id: Mapped[str | None] = mapped_column(WireText)
    new_session_id: Mapped[str | None] = mapped_column(WireText)
    reason: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), server_default="ended")
    announced: Mapped[int | None] = mapped_column(Integer)

    __table_args__ = (Index(None, "source"),)


class StepRow(Base):
    """One step of a replay run: the outcome of one recorded exchange.

    ``body_sha256`` is the hash of the body that was sent; ``changed`` is what changes did to the request, as JSON, or
    null if they did nothing.
    """

    __tablename__ = "run_steps"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    event_type: Mapped[str | None] = mapped_column(Label)
    outcome: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(WireText)
    recorded_status: Mapped[int | None] = mapped_column(Integer)
    status: Mapped[int | None] = mapped_column(Integer)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    drift_ms: Mapped[float | None] = mapped_column(Float(53))
    latency_ms: Mapped[float | None] = mapped_column(Float(53))
    differences: Mapped[str] = mapped_column(Text)
    body_sha256: Mapped[str | None] = mapped_column(String(64))
    changed: Mapped[str | None] = mapped_column(Text)
