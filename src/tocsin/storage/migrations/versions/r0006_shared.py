"""What processes that share a database must know of each other: the order of blocks' changes, and answers given."""

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Number the changes of blocks, and keep answers to requests that had a key."""
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(counters, [{"name": "blocks", "number": 0}])
    op.add_column("block_changes", sa.Column("version", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("block_changes_by_version", "block_changes", ["version"])
    op.create_table(
        "answers",
        sa.Column("place", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("answer", sa.LargeBinary),
    )
    op.create_index("answers_by_time", "answers", ["at"])


def downgrade() -> None:
    """Forget both."""
    op.drop_table("answers")
    op.drop_index("block_changes_by_version", "block_changes")
    with op.batch_alter_table("block_changes") as changes:
        changes.drop_column("version")
    op.drop_table("counters")
