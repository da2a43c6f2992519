"""Every migration on a database that holds something: no row is lost or changed, and the product goes on with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from app.metrics.points import Points
from app.metrics.reader import Metrics
from app.metrics.writer import BLOCK, SeriesWriter
from app.storage.db import Database
from app.storage.migrations import REVISIONS
from app.storage.tables import Run
from app.storage.upgrade import alembic_config
from tests.databases import unmigrated_url

ONLY_OF_SQLITE = ("ix_run_listed", "ix_run_noted")
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(unmigrated_url(tmp_path / "t.db"))
    yield database
    database.close()


def test_the_files_are_named_by_their_revisions() -> None:
    known = ScriptDirectory.from_config(alembic_config("")).walk_revisions()
    assert [script.revision for script in known][::-1] == REVISIONS


def to(database: Database, revision: str, current: str | None = None) -> None:
    act = command.upgrade if current is None or revision > current else command.downgrade
    act(alembic_config(database.url), revision)


def reflected(database: Database) -> sa.MetaData:
    metadata = sa.MetaData()
    metadata.reflect(database.engine)
    metadata.remove(metadata.tables["alembic_version"])
    return metadata


def fill(database: Database) -> None:
    """Two rows into each table that has none, every column of them with something in it."""
    with database.engine.begin() as connection:
        for table in reflected(database).sorted_tables:
            if connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0:
                connection.execute(table.insert(), [{c.name: some(c, number) for c in table.c} for number in (1, 2)])


def some(column: sa.Column[Any], number: int) -> Any:
    if column.foreign_keys:
        return number
    kind = column.type.python_type if not isinstance(column.type, sa.JSON) else dict
    values: dict[type, Any] = {
        int: number,
        float: number + 0.25,
        bool: number == 1,
        str: f"{column.name} {number} \N{SNOWMAN}",
        bytes: bytes([number, 0, 255]),
        dict: {"of": [column.name, number]},
        datetime: datetime(2026, 1, number, tzinfo=UTC),
    }
    return values[kind]


def held(database: Database) -> Rows:
    with database.engine.connect() as connection:
        found = {}
        for table in reflected(database).sorted_tables:
            rows = connection.execute(sa.text(f'SELECT * FROM "{table.name}"')).mappings()
            found[table.name] = [dict(row) for row in rows]
        if database.is_sqlite:
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    return found


def assert_kept(before: Rows, after: Rows) -> None:
    for table, rows in before.items():
        assert [{name: row[name] for name in rows[0]} for row in after[table]] == rows


def test_no_row_is_lost_or_changed_on_the_way_to_this_version(database: Database) -> None:
    before: Rows = {}
    for revision in REVISIONS:
        to(database, revision)
        assert_kept(before, held(database))
        fill(database)
        before = held(database)
        assert all(before.values())
    with database.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)
    assert [difference for difference in found if not is_of_another_database(database, difference)] == []


def is_of_another_database(database: Database, difference: Any) -> bool:
    return not database.is_sqlite and difference[0] == "add_index" and difference[1].name in ONLY_OF_SQLITE


def test_what_an_older_version_wrote_is_read_and_gone_on_with(database: Database) -> None:
    database.migrate()
    steps = np.arange(1, 3 * BLOCK + 301)
    series = Points(steps, np.sin(steps / 50.0), steps / 3)
    with database.write() as session:
        session.add(Run(id="old", name="old", dataset="d", model="cnn", spec={}))
        session.flush()
        SeriesWriter(session, 1).add("train/loss", series.take(slice(0, -500)))
    before = held(database)
    to(database, REVISIONS[0], REVISIONS[-1])
    assert "level" not in held(database)
    database.migrate()
    after = held(database)
    assert_kept({name: before[name] for name in ("series", "point")}, after)
    assert [row["data"] for row in after["chunk"]] == [row["data"] for row in before["chunk"]]
    with database.write() as session:
        SeriesWriter(session, 1).add("train/loss", series.take(slice(-500, None)))
    read = Metrics(database).read("old", points=10_000)["series"]["train/loss"]
    assert (read["step"], read["value"]) == (steps.tolist(), series.values.tolist())
    coarse = Metrics(database).read("old", points=200)["series"]["train/loss"]
    assert coarse["total"] == len(steps)
    assert set(coarse["step"]) <= set(steps.tolist())
    assert (min(coarse["value"]), max(coarse["value"])) == (series.values.min(), series.values.max())
