"""A finding that stands for several places names them, and where it ends if it has an extent.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: None = None
depends_on: None = None

# recreate="never": otherwise, on SQLite, Alembic copies the table and drops the original, which deletes the rows of
# other tables that refer to it.


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("findings", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("others", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("until_seq", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("findings", recreate="never") as batch_op:
        batch_op.drop_column("until_seq")
        batch_op.drop_column("others")
