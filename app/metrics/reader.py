"""Read series: packed chunks with min/max levels, followed by a tail of rows that are not packed yet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field
from sqlalchemy import func
from sqlmodel import Session, col, select

from app.errors import not_found
from app.metrics.downsample import extremes, width_for
from app.metrics.levels import coarse_points
from app.metrics.points import Points, encode
from app.metrics.smoothing import smoothed
from app.metrics.writer import tail_points
from app.storage.db import Database
from app.storage.tables import Chunk, Point, Run, Series
from trainer.system.spreadsheet import safe_cell

CSV_ROWS = 20_000  # per piece that is sent


class Metrics:
    def __init__(self, database: Database) -> None:
        self.database = database

    def names(self, run_id: str) -> list[str]:
        with self.database.read() as session:
            key = self._key(session, run_id)
            return sorted(session.exec(select(Series.name).where(Series.run == key)).all())

    def read(
        self,
        run_id: str,
        names: Sequence[str] | None = None,
        points: int = 1000,
        after_step: int | None = None,
        smoothing: float | None = None,
    ) -> dict[str, Any]:
        """Return each series, downsampled to about `points` points if it has more, in the form of MetricsPublic.

        With `smoothing`, each has its average too, over all points. Unknown names are ignored. Raises ApiError 404 for
        an unknown run.
        """
        with self.database.read() as session:
            known = self._series(session, run_id, names)
            wanted = known if names is None else {name: known[name] for name in names if name in known}
            found = {name: self._read(session, row, points, after_step) for name, row in wanted.items()}
            if smoothing is not None:
                for name, body in found.items():
                    self._add_average(session, wanted[name], body, smoothing)
            return {"series": found}

    def csv(self, run_id: str, only: Sequence[str] | None = None) -> Iterator[str]:
        """Yield CSV text with every point: the header, then per series its rows of series, step, value, time.

        With `only`, other series are left out.

        No connection is held between two yields: a client may read as slowly as it likes.
        """
        with self.database.read() as session:
            names = sorted(self._series(session, run_id, only))
        yield "series,step,value,time\r\n"
        for name in names:
            with self.database.read() as session:
                row = self._series(session, run_id, [name]).get(name)
                points = None if row is None else every_point(session, row)
            if points is None:
                continue  # the run was begun anew meanwhile
            rows = zip(points.steps.tolist(), points.values.tolist(), points.times.tolist(), strict=True)
            while chunk := list(islice(rows, CSV_ROWS)):
                buffer = io.StringIO()
                csv.writer(buffer).writerows((safe_cell(name), *row) for row in chunk)
                yield buffer.getvalue()

    def _series(self, session: Session, run_id: str, names: Sequence[str] | None = None) -> Mapping[str, Series]:
        """Return the series of these names, or all: a script may have logged very many."""
        wanted = [Series.run == self._key(session, run_id)]
        if names is not None:
            wanted.append(col(Series.name).in_(names))  # type: ignore[arg-type]
        return {row.name: row for row in session.exec(select(Series).where(*wanted)).all()}

    def _key(self, session: Session, run_id: str) -> int:
        key = session.exec(select(Run.key).where(Run.id == run_id)).first()
        if key is None:
            raise not_found("run", run_id)
        return key

    def _read(self, session: Session, row: Series, count: int, after_step: int | None) -> dict[str, Any]:
        return encode(points_of(session, row, count, after_step)) | {"total": row.total}

    def _add_average(self, session: Session, row: Series, body: dict[str, Any], weight: float) -> None:
        points = every_point(session, row)
        average, fence = smoothed(points, weight, keep_start=row.name.endswith("loss"))
        at = np.searchsorted(points.steps, np.array(body["step"], dtype=np.int64))
        body["smoothed"] = [None if math.isnan(value) else value for value in average[at].tolist()]
        body["outliers_above"] = fence if math.isfinite(fence) else None


def points_of(session: Session, row: Series, count: int, after_step: int | None = None) -> Points:
    """Return the points of a series, or those past `after_step`: the extremes of about `count` if there are more."""
    if row.total <= count:
        return every_point(session, row, after_step)
    buckets = max(1, count // 2)
    if after_step is None:
        first = _first_step(session, row)
        width = width_for(first, row.last_step, buckets)
        points = Points.join([coarse_points(session, row.key or 0, width), _tail(session, row)])
    else:
        points = every_point(session, row, after_step)
        if len(points) <= count:
            return points
        width = width_for(int(points.steps[0]), int(points.steps[-1]), buckets)
    return extremes(points, width)


def every_point(session: Session, row: Series, after_step: int | None = None) -> Points:
    """Return every point, or those past `after_step`."""
    where = [Chunk.series == row.key]
    if after_step is not None:
        where.append(col(Chunk.last_step) > after_step)  # type: ignore[arg-type]
    blobs = session.exec(select(Chunk.data).where(*where).order_by(col(Chunk.number))).all()
    points = Points.join([*map(Points.unpack, blobs), _tail(session, row)])
    return points if after_step is None else points.take(points.steps > after_step)


def _tail(session: Session, row: Series) -> Points:
    return tail_points(session, [Point.series == row.key])


def _first_step(session: Session, row: Series) -> int:
    """Return the first step, which is not 0 for a run that continues from another run's step."""
    chunk = session.exec(
        select(Chunk.first_step).where(Chunk.series == row.key).order_by(col(Chunk.number)).limit(1)
    ).first()
    if chunk is not None:
        return chunk
    tail = session.exec(select(func.min(Point.step)).where(Point.series == row.key)).one()
    return 0 if tail is None else tail


class NonFinite(BaseModel):
    step: int
    kind: Literal["NaN", "Infinity", "-Infinity"]


class SeriesPublic(BaseModel):
    step: list[int]
    value: list[float | None] = Field(description="Null where it is not a finite number.")
    time: list[float] = Field(description="Seconds since 1970, UTC.")
    total: int = Field(description="How many points there are before down-sampling.")
    smoothed: list[float | None] = Field(
        [], description="With `smoothing`: a debiased exponential average of all points; null at outliers."
    )
    outliers_above: float | None = Field(
        None, description="With `smoothing`: larger values are outliers, which the average leaves out."
    )
    nonfinite: list[NonFinite] = Field([], description="The values that are null; left out where all are finite.")


class MetricsPublic(BaseModel):
    series: dict[str, SeriesPublic]
