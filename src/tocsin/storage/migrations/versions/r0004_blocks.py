"""What is blocked, and the history of that."""

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add blocks and what happened to them."""
    op.create_table(
        "blocks",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "block_changes",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("block_id", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("project", sa.Text),
        sa.Column("rule", sa.Text),
        sa.Column("alert_id", sa.Text),
    )
    op.create_index("block_changes_by_time", "block_changes", ["at", "id"])
    op.create_index("block_changes_by_key", "block_changes", ["digest", "at"])


def downgrade() -> None:
    """Forget what is blocked."""
    op.drop_table("block_changes")
    op.drop_table("blocks")
