"""The tables. ``docs/store.md`` explains them; ``migrations/`` makes them, and a test proves the two equal."""

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
    """Text that sorts by code point on both engines, so that an index finds what begins alike."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


_ID = _bytewise(32)


class Base(DeclarativeBase):
    """Base of all tables; its metadata is the schema."""

    metadata = MetaData(naming_convention=NAMING)


class Recording(Base):
    """One run of a recorder."""

    __tablename__ = "recordings"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    name: Mapped[str | None] = mapped_column(Label)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    version: Mapped[str] = mapped_column(String(64))

    __table_args__ = (Index(None, "name"),)


class SessionRow(Base):
    """One playback, folded from its exchanges as they come in; `proxy_addon.core.sessions.Session` says what each is.

    ``state`` is the lasting state: whether an open session has expired is worked out when it is read.
    ``recording`` is the recording's name, here too so that an index can hold it beside the time.
    ``session_key`` is the SHA-256 of upstream and back-end ID: an ID of any length can be looked up by it.
    ``occurrence`` counts starts that were given the same ID by the same upstream, from 0.
    ``findings_due`` marks what a recorder had not judged to the end when it was last seen: the next one takes it up.
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
        # Each filter has one that also gives the order of the list, so that no database has a reason to sort.
        Index(None, "started_at", "id"),
        Index(None, "recording", "started_at", "id"),
        Index(None, "state", "started_at", "id"),
        Index(None, "state", "last_event_at"),  # the few that are still open among all that were never closed
        Index(None, "player_name", "started_at", "id"),
        Index(None, "media_id", "started_at", "id"),
        Index(None, "media_name", "started_at", "id"),
        Index(None, "user_agent", "started_at", "id"),
        Index(None, "has_findings", "started_at", "id"),
        Index(None, "upstream"),
        Index(None, "findings_due"),
    )


class ExchangeRow(Base):
    """One request and what came of it. Bodies are the bytes of the wire.

    ``event_type``, ``playhead_s`` and ``ts_ms`` are read from the body, for people who query the store themselves;
    they are null for batches, and the commands read the body.
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
    status: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(WireText)
    response_version: Mapped[str | None] = mapped_column(String(16))
    response_headers: Mapped[Headers | None] = mapped_column(HeaderList)
    response_body: Mapped[bytes | None] = mapped_column(LargeBinary)
    response_sha256: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (
        # Serves a session's exchanges in order, and those of no session, newest first.
        Index(None, "session", "received_at", "id"),
        Index(None, "recording_id"),
    )


class FindingRow(Base):
    """One finding: of an exchange, or of a session as a whole where ``exchange_id`` is null.

    ``seq`` is that of a whole session's finding, as it was when it was found; an exchange's place is worked out.
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

    __table_args__ = (Index(None, "session"), Index(None, "exchange_id"))


class UnjudgedRow(Base):
    """An exchange that was stored before it was judged. What a recorder leaves of them, the next one takes up."""

    __tablename__ = "unjudged"

    exchange_id: Mapped[str] = mapped_column(ForeignKey("exchanges.id", ondelete="CASCADE"), primary_key=True)


class ServerRow(Base):
    """An address that was connected to under the name of an upstream: a replay must not get there by another name."""

    __tablename__ = "servers"

    upstream: Mapped[str] = mapped_column(Label, primary_key=True)
    address: Mapped[str] = mapped_column(String(64), primary_key=True)
    port: Mapped[int] = mapped_column(Integer, primary_key=True)


class SchemaRow(Base):
    """A JSON schema that an upstream gave for an event type; each version it was seen in is a row."""

    __tablename__ = "schemas"

    upstream: Mapped[str] = mapped_column(Label, primary_key=True)
    event_type: Mapped[str] = mapped_column(Label, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RunRow(Base):
    """One replay. ``settings`` is what else has to be known to go on with it, as JSON.

    ``exit_code`` is that of the command; null while it runs, and where it was killed.
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
    """One change of requests in a replay. ``change`` is what it does, as JSON; ``places`` is in how many it did."""

    __tablename__ = "run_changes"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    option: Mapped[str] = mapped_column(WireText)
    change: Mapped[str] = mapped_column(Text)
    places: Mapped[int] = mapped_column(Integer)


class RunSessionRow(Base):
    """One session of a replay. ``source`` outlives the session it names, so that deleting one keeps the run.

    ``state`` is ``waiting`` until, in a transaction of its own, it becomes ``begun`` before anything is sent, and
    ``ended``. ``announced`` is how many of its steps, in the order of sending, may have been sent.
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
    """One step of a replay: what became of one recorded exchange.

    ``body_sha256`` is of the body that was sent for it; ``changed`` is what changes did to the request, as JSON, null
    where they did nothing.
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
