"""Runs know their settings, and how far each of their sessions has got.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: None = None
depends_on: None = None

# recreate="never": otherwise, on SQLite, Alembic copies the table and drops the original, which deletes the rows of
# other tables that refer to it.


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("runs", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("settings", sa.Text(), server_default="{}", nullable=False))
    with op.batch_alter_table("run_sessions", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("state", sa.String(length=16), server_default="ended", nullable=False))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("run_sessions", recreate="never") as batch_op:
        batch_op.drop_column("state")
    with op.batch_alter_table("runs", recreate="never") as batch_op:
        batch_op.drop_column("settings")
