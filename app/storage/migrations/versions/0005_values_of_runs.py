"""Add the settings and metrics of runs as rows, for searching and sorting."""

import json
import math
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
BATCH = 500  # runs
LISTED = [
    "created_at", "status", "dataset", "model", "group", "preset", "name", "tags", "changed", "starred", "best_acc",
    "started_at", "finished_at", "epoch", "step", "total_steps", "throughput", "device", "id", "parent",
]  # fmt: skip


def upgrade() -> None:
    names = op.create_table(
        "valuename",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sa.UniqueConstraint("name"),
    )
    values = op.create_table(
        "runvalue",
        sa.Column("name", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.Column("text", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["name"], ["valuename.key"]),
        sa.ForeignKeyConstraint(["run"], ["run.key"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("name", "run"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_runvalue_run", "runvalue", ["run"])
    if op.get_bind().dialect.name == "sqlite":
        op.create_index("ix_run_listed", "run", LISTED)
        op.create_index("ix_run_noted", "run", ["notes"], sqlite_where=sa.text("notes != ''"))
    assert names is not None
    assert values is not None
    _fill(op.get_bind(), names, values)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("ix_run_noted", "run")
        op.drop_index("ix_run_listed", "run")
    op.drop_table("runvalue")
    op.drop_table("valuename")


def _fill(connection: sa.Connection, names: sa.Table, values: sa.Table) -> None:
    known: dict[str, int] = {}
    runs = connection.execute(sa.text("SELECT key, spec, summary FROM run ORDER BY key")).all()
    for first in range(0, len(runs), BATCH):
        rows = []
        for run, spec, summary in runs[first : first + BATCH]:
            for name, number, text in _values(_parsed(spec), _parsed(summary)):
                if name not in known:
                    known[name] = len(known) + 1
                    connection.execute(names.insert().values(key=known[name], name=name))
                rows.append({"name": known[name], "run": run, "number": number, "text": text})
        if rows:
            connection.execute(values.insert(), rows)


def _parsed(column: Any) -> dict[str, Any]:
    found = json.loads(column) if isinstance(column, str) else column
    return found if isinstance(found, dict) else {}


def _values(spec: dict[str, Any], summary: dict[str, Any]) -> Iterator[tuple[str, float | None, str | None]]:
    seen = set()
    for name, value in _flat({key: value for key, value in spec.items() if key not in ("dataset", "preset")}):
        seen.add(name)
        if isinstance(value, bool | int | float):
            yield name, float(value), None
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else value
            yield name, None, text
    for name, value in summary.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if is_number and name not in seen:
            yield name, float(value), None


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
