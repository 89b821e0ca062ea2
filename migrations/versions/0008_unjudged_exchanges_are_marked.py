"""Exchanges that were stored before they were judged are marked, and recordings that were made without judging.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: None = None
depends_on: None = None

# What a recorder had not got to when it was killed: until now known by its size, in a session that is marked. Outside of
# sessions, large bodies were never judged.
_LEFT_BEHIND = """
    INSERT INTO unjudged (exchange_id)
    SELECT exchanges.id FROM exchanges LEFT JOIN sessions ON sessions.id = exchanges.session
    WHERE (sessions.findings_due OR exchanges.session IS NULL) AND length(exchanges.request_body) > 65536
        AND NOT EXISTS (SELECT 1 FROM findings WHERE findings.exchange_id = exchanges.id)
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "unjudged",
        sa.Column(
            "exchange_id", sa.String(length=32).with_variant(sa.String(32, collation="C"), "postgresql"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["exchange_id"], ["exchanges.id"], name=op.f("fk_unjudged_exchange_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("exchange_id", name=op.f("pk_unjudged")),
    )
    op.execute(_LEFT_BEHIND)
    with op.batch_alter_table("recordings", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("checked", sa.Boolean(), server_default=sa.true(), nullable=False))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("recordings", recreate="never") as batch_op:
        batch_op.drop_column("checked")
    op.drop_table("unjudged")
