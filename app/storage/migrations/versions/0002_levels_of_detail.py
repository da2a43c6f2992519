"""Add levels of detail above the chunks."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Chunks that are there already stay without a width: they are read whole until `reindex` writes them anew.
    with op.batch_alter_table("chunk") as chunk:
        chunk.add_column(sa.Column("width", sa.Integer(), nullable=True))
    op.create_table(
        "level",
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("first_step", sa.Integer(), nullable=False),
        sa.Column("last_step", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["series"], ["series.key"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("series", "level", "number"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("level")
    with op.batch_alter_table("chunk") as chunk:
        chunk.drop_column("width")
