"""Add projects, and runs of scripts with what they log."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
LISTED = [
    "created_at", "status", "dataset", "model", "group", "preset", "name", "tags", "changed", "starred", "best_acc",
    "started_at", "finished_at", "epoch", "step", "total_steps", "throughput", "device", "id", "parent",
]  # fmt: skip


def upgrade() -> None:
    op.add_column("run", sa.Column("source", sa.String(), nullable=False, server_default="trackside"))
    op.add_column("run", sa.Column("project", sa.String(), nullable=False, server_default=""))
    op.create_index("ix_run_project", "run", ["project"])
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("ix_run_listed", "run")
        op.create_index("ix_run_listed", "run", [*LISTED, "project", "source"])
    op.create_table(
        "scriptrecord",
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("passed_over", sa.Integer(), nullable=False),
        sa.Column("train_loss", sa.String(), nullable=True),
        sa.Column("val_loss", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["run.key"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run"),
    )
    op.create_table(
        "media",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("format", sa.String(), nullable=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["run.key"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_media_run_name_step", "media", ["run", "name", "step"])
    op.create_table(
        "loggedfile",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["run.key"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("key"),
        sa.UniqueConstraint("run", "path"),
    )


def downgrade() -> None:
    op.drop_table("loggedfile")
    op.drop_index("ix_media_run_name_step", "media")
    op.drop_table("media")
    op.drop_table("scriptrecord")
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("ix_run_listed", "run")
        op.create_index("ix_run_listed", "run", LISTED)
    op.drop_index("ix_run_project", "run")
    op.drop_column("run", "project")
    op.drop_column("run", "source")
