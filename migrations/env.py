"""How Alembic reaches the store: over a connection from ``storage.migrate``, inside that connection's transaction.

Developers who run ``alembic revision --autogenerate`` name the store to compare with in SESSIONTAPE_STORE instead.
"""

from __future__ import annotations

import os
from typing import Literal

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.types import TypeDecorator

from storage.engine import Store
from storage.models import Base


def render_item(kind: str, item: object, _: object) -> str | Literal[False]:
    """Write our column types as the plain ones below them, because ours may change but a migration must not."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


def run(db: Connection) -> None:
    """Run the migrations that Alembic asks for."""
    context.configure(
        connection=db,
        target_metadata=Base.metadata,
        # SQLite cannot alter most of a table: batch mode rebuilds it.
        render_as_batch=True,
        compare_type=True,
        render_item=render_item,
        # SQLite has transactional DDL; a migration that fails leaves nothing behind.
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    with Store(os.environ["SESSIONTAPE_STORE"]).write() as opened:
        run(opened)
