"""Add what a run is in a search."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("run", sa.Column("search", sa.String(), nullable=True))
    op.add_column("run", sa.Column("trial", sa.Integer(), nullable=True))
    op.add_column("run", sa.Column("params", sa.JSON(), nullable=True))
    op.create_index("ix_run_search", "run", ["search"])


def downgrade() -> None:
    op.drop_index("ix_run_search", "run")
    for name in ("params", "trial", "search"):
        op.drop_column("run", name)
