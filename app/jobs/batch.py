"""What a block of a run's events adds to its rows, and writing the points among it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from app.metrics.points import Points, encode
from app.metrics.writer import SeriesWriter
from app.storage.changes import publish
from app.storage.tables import Run
from trainer.rundir.events import Event

LIVE_POINTS = 2000


@dataclass
class Batch:
    """The changes to a run's rows that a block of events makes."""

    points: dict[str, list[tuple[int, float, float]]] = field(default_factory=lambda: defaultdict(list))
    fields: dict[str, Any] = field(default_factory=dict)
    spark: dict[str, list[Any]] = field(default_factory=dict)
    end: Event | None = None


def last_step(writer: SeriesWriter, batch: Batch, name: str) -> int:
    """Return the last step of a series, -1 if it is empty."""
    if added := batch.points.get(name):
        return added[-1][0]
    series = writer.row(name)
    return -1 if series is None else series.last_step


def flush_points(session: Session, run: Run, writer: SeriesWriter, batch: Batch) -> None:
    arrays = {name: Points.of(rows) for name, rows in batch.points.items()}
    batch.points.clear()
    writer.add_all(arrays)
    if not arrays:
        return
    if sum(map(len, arrays.values())) > LIVE_POINTS:
        publish(session, run.id, "resync", {"run": run.id})  # fetching a long backlog is faster than streaming it
    else:
        publish(session, run.id, "metrics", {"run": run.id, "series": {k: encode(v) for k, v in arrays.items()}})
