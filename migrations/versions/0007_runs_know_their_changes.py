"""A run knows what it changed in requests, each step what was sent for it, and the run how it ended.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: None = None
depends_on: None = None

# recreate="never": otherwise, on SQLite, Alembic copies the table and drops the original, which deletes the rows of
# other tables that refer to it.


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("runs", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("exit_code", sa.Integer(), nullable=True))
    op.create_table(
        "run_changes",
        sa.Column(
            "run_id", sa.String(length=32).with_variant(sa.String(32, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("option", sa.Text(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("places", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_changes_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_run_changes")),
    )
    with op.batch_alter_table("run_steps", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("body_sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("changed", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("run_steps", recreate="never") as batch_op:
        batch_op.drop_column("changed")
        batch_op.drop_column("body_sha256")
    op.drop_table("run_changes")
    with op.batch_alter_table("runs", recreate="never") as batch_op:
        batch_op.drop_column("exit_code")
