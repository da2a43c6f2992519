"""Add the number of a run's devices, those of them that its worker does not have, and which workers are ready."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("run", sa.Column("devices", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("run", sa.Column("other_devices", sa.JSON()))
    op.add_column("worker", sa.Column("ready", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("worker", "ready")
    op.drop_column("run", "other_devices")
    op.drop_column("run", "devices")
