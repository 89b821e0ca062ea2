"""Recorders keep books, what is lost is named, and long bodies are stored in part.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
    # As in the first schema: sorts by code point on both engines.
    bytewise = sa.String(length=32).with_variant(sa.String(length=32, collation="C"), "postgresql")
    op.create_table(
        "recorders",
        sa.Column("id", bytewise, nullable=False),
        sa.Column("worker", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=400), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("engine", sa.String(length=16), nullable=False),
        sa.Column("upstream", sa.String(length=400), nullable=True),
        *(
            sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)
            for name in ("seen", "journaled", "filed", "late", "refused", "dropped")
        ),
        sa.PrimaryKeyConstraint("id", "worker", name=op.f("pk_recorders")),
    )
    op.create_index("ix_recorders_started_at", "recorders", ["started_at"])
    op.create_table(
        "losses",
        sa.Column("id", bytewise, nullable=False),
        sa.Column("recorder_id", bytewise, nullable=False),
        sa.Column("session_key", sa.String(length=64), nullable=True),
        sa.Column("upstream", sa.String(length=400), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("is_refused", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_losses")),
    )
    op.create_index("ix_losses_session_key", "losses", ["session_key"])
    op.create_index("ix_losses_recorder_id", "losses", ["recorder_id"])
    with op.batch_alter_table("sessions", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("lost", sa.Integer(), server_default="0", nullable=False))
    with op.batch_alter_table("exchanges", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("request_length", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("response_length", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("exchanges", recreate="never") as batch_op:
        batch_op.drop_column("response_length")
        batch_op.drop_column("request_length")
    with op.batch_alter_table("sessions", recreate="never") as batch_op:
        batch_op.drop_column("lost")
    op.drop_table("losses")
    op.drop_table("recorders")
