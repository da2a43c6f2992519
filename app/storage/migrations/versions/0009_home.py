"""Add the mark of the home that a database belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "homemark", sa.Column("id", sa.String(), primary_key=True), sa.Column("path", sa.String(), nullable=False)
    )


def downgrade() -> None:
    op.drop_table("homemark")
