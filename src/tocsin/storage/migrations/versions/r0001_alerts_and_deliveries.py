"""Alert episodes, their events, deliveries and attempts."""

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0001"
down_revision = None

_WAITING = sa.text("status = 'waiting'")
_DEAD = sa.text("status IN ('failed', 'dropped')")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("threshold", sa.Double),
        sa.Column("value", sa.Double),
        sa.Column("peak", sa.Double),
        sa.Column("suppressed", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("fired_at", sa.BigInteger, nullable=False),
        sa.Column("resolved_at", sa.BigInteger),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("acknowledged_at", sa.BigInteger),
    )
    op.create_index("alerts_by_time", "alerts", ["fired_at", "id"])
    op.create_index("alerts_by_rule", "alerts", ["rule", "fired_at", "id"])
    op.create_index("alerts_by_state", "alerts", ["state", "fired_at", "id"])
    op.create_index("alerts_by_end", "alerts", ["resolved_at"])
    op.create_table(
        "alert_labels",
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("alert_id", sa.Text, sa.ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
        sa.PrimaryKeyConstraint("digest", "alert_id", name="alert_labels_pkey"),
    )
    op.create_index("labels_by_alert", "alert_labels", ["alert_id"])
    op.create_table(
        "alert_events",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("alert_id", sa.Text, sa.ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
        sa.Column("transition", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("detected_at", sa.BigInteger, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("events_by_alert", "alert_events", ["alert_id", "at"])
    _create_deliveries()


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("contact_point", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("alert_id", sa.Text, nullable=False),
        sa.Column("transition", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("published", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.BigInteger),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("document", sa.LargeBinary),
        sa.PrimaryKeyConstraint("contact_point", "event_id", name="deliveries_pkey"),
    )
    op.create_index("deliveries_by_event", "deliveries", ["event_id"])
    op.create_index("deliveries_by_alert", "deliveries", ["alert_id"])
    op.create_index("deliveries_by_time", "deliveries", ["published"])
    op.create_index("deliveries_by_end", "deliveries", ["finished"])
    op.create_index(
        "deliveries_dead",
        "deliveries",
        ["finished", "event_id", "contact_point"],
        sqlite_where=_DEAD,
        postgresql_where=_DEAD,
    )
    op.create_index(
        "deliveries_waiting",
        "deliveries",
        ["contact_point", "published"],
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
    op.create_table(
        "attempts",
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("contact_point", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("event_id", "contact_point", "at", "number", "outcome", name="attempts_pkey"),
    )
    op.create_index("attempts_by_time", "attempts", ["at"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("attempts", "deliveries", "alert_events", "alert_labels", "alerts"):
        op.drop_table(table)
