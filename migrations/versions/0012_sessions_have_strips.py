"""Sessions have a strip of their playback and the number of events not accepted; findings are found by their rule.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: None = None
depends_on: None = None

# A batch counts as one here, because its events are in the body; its verdict is the same. Strips stay empty for sessions
# that are there: to draw them, all bodies would have to be read.
_NOT_ACCEPTED = """
    exchanges.operation IN ('sessions', 'events', 'downloaded') AND (exchanges.status IS NULL OR exchanges.status >= 300)
"""
_COUNT = f"""
    UPDATE sessions SET not_accepted = (
        SELECT count(*) FROM exchanges WHERE exchanges.session = sessions.id AND {_NOT_ACCEPTED}
    )
    WHERE sessions.id IN (SELECT exchanges.session FROM exchanges WHERE {_NOT_ACCEPTED})
"""  # noqa: S608  # our own text


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("sessions", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("not_accepted", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("strip", sa.Text(), nullable=True))
    op.execute(_COUNT)
    op.create_index(op.f("ix_findings_rule_id_session"), "findings", ["rule", "id", "session"])


def downgrade() -> None:
    """Take back."""
    op.drop_index(op.f("ix_findings_rule_id_session"), table_name="findings")
    with op.batch_alter_table("sessions", recreate="never") as batch_op:
        batch_op.drop_column("strip")
        batch_op.drop_column("not_accepted")
