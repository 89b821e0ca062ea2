"""Losses know their session, and go with it.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
    # As in the first schema: sorts by code point on both engines.
    bytewise = sa.String(length=32).with_variant(sa.String(length=32, collation="C"), "postgresql")
    with op.batch_alter_table("losses") as batch_op:
        batch_op.add_column(sa.Column("session", bytewise, nullable=True))
        batch_op.create_foreign_key(op.f("fk_losses_session"), "sessions", ["session"], ["id"], ondelete="CASCADE")
        batch_op.create_index("ix_losses_session", ["session"])


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("losses") as batch_op:
        batch_op.drop_index("ix_losses_session")
        batch_op.drop_constraint(op.f("fk_losses_session"), type_="foreignkey")
        batch_op.drop_column("session")
