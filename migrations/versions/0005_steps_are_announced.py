"""A run knows how far each of its sessions may have got.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: None = None
depends_on: None = None

# recreate="never": otherwise, on SQLite, Alembic copies the table and drops the original, which deletes the rows of
# other tables that refer to it.


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("run_sessions", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("announced", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("run_sessions", recreate="never") as batch_op:
        batch_op.drop_column("announced")
