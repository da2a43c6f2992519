"""MLflow's SQLite store, which is only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trackside.imports.items import Unusable
from trackside.mlflow_files.stored import DELETED, Point, StoredRun

NAME = "mlflow.db"
LARGEST = 1.7976931348623157e308  # stands for infinity
FOLDERS = ("mlruns", "mlartifacts")  # where a server keeps artifacts
RUNS = (
    "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) "
    "WHERE runs.lifecycle_stage != ? AND experiments.lifecycle_stage != ? ORDER BY start_time, run_uuid"
)
RUN = (
    "SELECT runs.name, experiments.name, status, start_time, end_time, artifact_uri, experiment_id "
    "FROM runs JOIN experiments USING (experiment_id) WHERE run_uuid = ?"
)
POINTS = "SELECT key, step, value, timestamp, is_nan FROM metrics WHERE run_uuid = ? ORDER BY timestamp, rowid"


def run_ids(path: Path) -> list[str]:
    """The runs that were not deleted. Raises Unusable."""
    with _opened(path) as database:
        return [str(run_id) for (run_id,) in database.execute(RUNS, (DELETED, DELETED))]


def read_row(path: Path, run_id: str) -> StoredRun:
    """Raises Unusable."""
    with _opened(path) as database:
        row = database.execute(RUN, (run_id,)).fetchone()
        if row is None:
            raise Unusable("it was deleted just now.")
        name, experiment, status, start, end, uri, experiment_id = row
        tags = _texts(database, "tags", run_id)
        parent_id = tags.get("mlflow.parentRunId", "")
        parent = database.execute("SELECT name FROM runs WHERE run_uuid = ?", (parent_id,)).fetchone()
        return StoredRun(
            id=run_id,
            name=tags.get("mlflow.runName") or str(name or ""),
            experiment=str(experiment),
            status=str(status),
            start=int(start or 0),
            end=int(end or 0),
            parent=str(parent[0] or parent_id) if parent else parent_id,
            params=_texts(database, "params", run_id),
            tags=tags,
            points=[_point(*found) for found in database.execute(POINTS, (run_id,))],
            artifacts=_artifacts(path.parent, str(uri or ""), f"{experiment_id}/{run_id}/artifacts"),
        )


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            yield database
    except (sqlite3.Error, ValueError, OverflowError) as error:
        raise Unusable(f"{path} is not as MLflow writes it: {error}") from None


def _texts(database: sqlite3.Connection, table: str, run_id: str) -> dict[str, str]:
    rows = database.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ? ORDER BY key", (run_id,))
    return {str(key): str(value) for key, value in rows if value is not None}


def _point(name: str, step: int, value: float | None, time: int, is_nan: int) -> Point:
    number = float("nan") if is_nan or value is None else float(value)
    if abs(number) >= LARGEST:
        number = float("inf") if number > 0 else float("-inf")
    return Point(str(name), int(step), number, int(time))


def _artifacts(folder: Path, uri: str, below: str) -> Path | None:
    """Where the artifacts lie: as the database says, or below the folders beside it."""
    parts = urlsplit(uri)
    places = [Path(unquote(parts.path))] if parts.scheme in ("", "file") and parts.path.startswith("/") else []
    places += [folder / name / below for name in FOLDERS]
    return next((place for place in places if place.is_dir()), None)
