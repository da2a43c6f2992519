"""Steps, counts and sizes have 64 bits on PostgreSQL too; SQLite's integers always have them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

COLUMNS = {
    "run": ["tail_offset", "parent_step", "step", "total_steps", "best_step"],
    "task": ["tail_offset"],
    "media": ["step"],
    "series": ["total", "packed", "packed_step", "last_step"],
    "point": ["step"],
    "chunk": ["first_step", "last_step", "width"],
    "level": ["first_step", "last_step", "width"],
    "checkpoint": ["step", "size"],
    "finding": ["step"],
}


def upgrade() -> None:
    change(sa.BigInteger())


def downgrade() -> None:
    change(sa.Integer())


def change(kind: sa.types.TypeEngine[int]) -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    for table, names in COLUMNS.items():
        for name in names:
            op.alter_column(table, name, type_=kind)
