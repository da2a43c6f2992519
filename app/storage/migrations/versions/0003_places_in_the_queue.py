"""Add the position of runs in the queue."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("run") as run:
        run.add_column(sa.Column("place", sa.Float(), nullable=False, server_default="0"))
    runs = sa.table("run", sa.column("key", sa.Integer), sa.column("place", sa.Float))
    # Runs that wait keep their order, before those to come.
    op.get_bind().execute(runs.update().values(place=runs.c.key))


def downgrade() -> None:
    with op.batch_alter_table("run") as run:
        run.drop_column("place")
