"""Schemas in the store: what upstreams say an event may hold, version by version."""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from proxy_addon.core.protocol import Key
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.core.schemas import StoredSchema, read_schema
from proxy_addon.core.wording import visible
from proxy_addon.errors import ProtocolError
from storage.models import SchemaRow

logger = logging.getLogger(__name__)


def is_schema(body: bytes, event_type: str) -> bool:
    """Whether a body is a schema of an event type that can be read."""
    try:
        read_schema(body, event_type, "")
    except ProtocolError:
        return False
    return True


def keep(db: Connection, upstream: str, event_type: str, body: bytes, at: datetime) -> bool:
    """Keep a schema that was seen; of one that is known the time is noted.

    Returns:
        Whether it is new.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    same = (SchemaRow.upstream == upstream, SchemaRow.event_type == event_type, SchemaRow.sha256 == sha256)
    seen = db.execute(select(SchemaRow.last_seen_at).where(*same)).scalar()
    if seen is None:
        row = {"upstream": upstream, "event_type": event_type, "sha256": sha256, "body": body}
        db.execute(insert(SchemaRow).values(**row, first_seen_at=at, last_seen_at=at))
        return True
    if at > seen:
        db.execute(update(SchemaRow).where(*same).values(last_seen_at=at))
    return False


def versions(db: Connection, upstream: str | None = None, event_type: str | None = None) -> list[StoredSchema]:
    """Return all versions, by upstream and event type, the one seen last first."""
    query = select(SchemaRow.__table__)
    if upstream is not None:
        query = query.where(SchemaRow.upstream == upstream)
    if event_type is not None:
        query = query.where(SchemaRow.event_type == event_type)
    query = query.order_by(SchemaRow.upstream, SchemaRow.event_type, SchemaRow.last_seen_at.desc(), SchemaRow.sha256)
    return [StoredSchema(**row) for row in db.execute(query).mappings()]


def newest(db: Connection, upstream: str) -> dict[str, StoredSchema]:
    """Return the version seen last of each schema of an upstream, by event type."""
    found: dict[str, StoredSchema] = {}
    for schema in versions(db, upstream):
        found.setdefault(schema.event_type, schema)
    return found


def vocabulary(db: Connection, upstream: str, extra: tuple[Key, ...] = ()) -> Vocabulary:
    """Return what events reported to an upstream may hold: by its own schemas where there are, else by our table.

    A schema that cannot be read is named in the log, and says nothing.

    Args:
        extra: Params that are allowed beside.
    """
    read = {}
    for event_type, schema in newest(db, upstream).items():
        try:
            read[event_type] = read_schema(schema.body, event_type, f"schema {schema.sha256[:12]} of {upstream}")
        except ProtocolError as e:
            logger.warning(visible(f"the schema of {event_type} from {upstream} is not used: {e}"))
    return Vocabulary(extra, read)
