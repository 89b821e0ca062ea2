"""Sessions are marked whose findings are due, for the next recorder to take up.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: None = None
depends_on: None = None

# recreate="never": otherwise, on SQLite, Alembic copies the table and drops the original, which deletes the rows of
# other tables that refer to it.


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("sessions", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("findings_due", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.create_index(batch_op.f("ix_sessions_findings_due"), ["findings_due"], unique=False)


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("sessions", recreate="never") as batch_op:
        batch_op.drop_index(batch_op.f("ix_sessions_findings_due"))
        batch_op.drop_column("findings_due")
