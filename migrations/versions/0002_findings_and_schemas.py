"""Findings say where in the session and by which authority; schemas upstreams gave, and addresses connected to.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("findings", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("seq", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("authority", sa.String(length=400), server_default="built-in", nullable=False))
    op.create_table(
        "servers",
        sa.Column("upstream", sa.String(length=400), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("upstream", "address", "port", name=op.f("pk_servers")),
    )
    op.create_table(
        "schemas",
        sa.Column("upstream", sa.String(length=400), nullable=False),
        sa.Column("event_type", sa.String(length=400), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("upstream", "event_type", "sha256", name=op.f("pk_schemas")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("schemas")
    op.drop_table("servers")
    with op.batch_alter_table("findings", recreate="never") as batch_op:
        batch_op.drop_column("authority")
        batch_op.drop_column("seq")
