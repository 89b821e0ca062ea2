"""Schemas in the store: what upstreams say an event may contain, version by version."""

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


def keep(db: Connection, upstream: str, event_type: str, body: bytes, at: datetime) -> bool:
    """Store a schema, or when it was last seen if it is already stored.

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
    """Return all versions by upstream and event type, the one seen last first; None selects all."""
    query = select(SchemaRow.__table__)
    if upstream is not None:
        query = query.where(SchemaRow.upstream == upstream)
    if event_type is not None:
        query = query.where(SchemaRow.event_type == event_type)
    query = query.order_by(SchemaRow.upstream, SchemaRow.event_type, SchemaRow.last_seen_at.desc(), SchemaRow.sha256)
    return [StoredSchema(**row) for row in db.execute(query).mappings()]


def newest(db: Connection, upstream: str) -> dict[str, StoredSchema]:
    """Return the version of each schema that an upstream was last seen to give, by event type."""
    found: dict[str, StoredSchema] = {}
    for schema in versions(db, upstream):
        found.setdefault(schema.event_type, schema)
    return found


def vocabulary(db: Connection, upstream: str, extra: tuple[Key, ...] = ()) -> Vocabulary:
    """Return what events sent to an upstream may contain: its own schemas if stored, our table otherwise.

    A schema that cannot be read is logged and ignored.

    Args:
        extra: Params that are allowed in addition.
    """
    read = {}
    for event_type, schema in newest(db, upstream).items():
        try:
            read[event_type] = read_schema(schema.body, event_type, f"schema {schema.sha256[:12]} of {upstream}")
        except ProtocolError as e:
            logger.warning(visible(f"the schema of {event_type} from {upstream} is not used: {e}"))
    return Vocabulary(extra, read)
