"""Which alerts are of a rule on trial."""

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the mark; alerts of before are of live rules."""
    op.add_column("alerts", sa.Column("shadow", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    """Forget which were on trial."""
    with op.batch_alter_table("alerts") as alerts:
        alerts.drop_column("shadow")
