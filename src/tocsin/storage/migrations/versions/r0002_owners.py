"""Which process delivers what, so that several may share one database."""

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0002"
down_revision = "0001"


_WAITING = sa.text("status = 'waiting'")


def upgrade() -> None:
    """Add the owner of a delivery, and the processes that live."""
    op.add_column("deliveries", sa.Column("owner", sa.Text, nullable=False, server_default=""))
    _index("contact_point", "published", "owner")
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seen", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Forget owners: every delivery is anybody's."""
    op.drop_table("replicas")
    _index("contact_point", "published")
    with op.batch_alter_table("deliveries") as deliveries:
        deliveries.drop_column("owner")


def _index(*columns: str) -> None:
    op.drop_index("deliveries_waiting", "deliveries")
    op.create_index("deliveries_waiting", "deliveries", list(columns), sqlite_where=_WAITING, postgresql_where=_WAITING)
