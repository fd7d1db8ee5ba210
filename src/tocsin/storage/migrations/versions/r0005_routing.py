"""Silences, what routing decided, and who acknowledged."""

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables, and the name of who acknowledged an alert."""
    op.add_column("alerts", sa.Column("acknowledged_by", sa.Text))
    op.create_table(
        "alert_routing",
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("alert_id", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("routing_by_alert", "alert_routing", ["alert_id", "at"])
    op.create_index("routing_by_time", "alert_routing", ["at"])
    op.create_table(
        "silences",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("matchers", sa.Text, nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("ended_by", sa.Text, nullable=False),
        sa.Column("told", sa.Integer, nullable=False),
    )
    op.create_index("silences_by_end", "silences", ["ends_at", "id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("silences")
    op.drop_table("alert_routing")
    with op.batch_alter_table("alerts") as alerts:
        alerts.drop_column("acknowledged_by")
