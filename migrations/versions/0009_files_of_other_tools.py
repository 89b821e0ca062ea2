"""Exchanges may come from files of other tools: with the state of their bodies, what a tool said, and without names.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("recordings", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("pseudonymised", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("imported_from", sa.String(length=400), nullable=True))
        batch_op.add_column(sa.Column("file_sha256", sa.String(length=64), nullable=True))
        batch_op.create_index("ix_recordings_file_sha256", ["file_sha256"])
    with op.batch_alter_table("sessions", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("has_holes", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("pseudonymised", sa.Boolean(), server_default=sa.false(), nullable=False))
    with op.batch_alter_table("exchanges", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("body_state", sa.String(length=16), server_default="exact", nullable=False))
        batch_op.add_column(sa.Column("why", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("note", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("exchanges", recreate="never") as batch_op:
        batch_op.drop_column("note")
        batch_op.drop_column("why")
        batch_op.drop_column("body_state")
    with op.batch_alter_table("sessions", recreate="never") as batch_op:
        batch_op.drop_column("pseudonymised")
        batch_op.drop_column("has_holes")
    with op.batch_alter_table("recordings", recreate="never") as batch_op:
        batch_op.drop_index("ix_recordings_file_sha256")
        batch_op.drop_column("file_sha256")
        batch_op.drop_column("imported_from")
        batch_op.drop_column("pseudonymised")
