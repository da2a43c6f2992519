"""Series of points: a hot tail of rows, packed into chunks with min/max levels as it fills."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from app.db import Database, upsert_points
from app.errors import not_found
from app.tables import Chunk, Point, Run, Series
from trainer.events import NONFINITE, nonfinite_name

BLOCK = 1024
BUCKET = 64


@dataclass(frozen=True)
class Points:
    """steps int64 (n,) rising, values and times (UNIX seconds) float64 (n,)."""

    steps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    times: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)

    def take(self, index: Any) -> Points:
        return Points(self.steps[index], self.values[index], self.times[index])

    def pack(self) -> bytes:
        return (
            self.steps.astype("<i8").tobytes()
            + self.values.astype("<f8").tobytes()
            + self.times.astype("<f8").tobytes()
        )

    @classmethod
    def unpack(cls, data: bytes) -> Points:
        count = len(data) // 24
        values = np.frombuffer(data, "<f8", offset=8 * count)
        return cls(np.frombuffer(data, "<i8", count), values[:count], values[count:])

    @classmethod
    def of(cls, rows: Sequence[tuple[int, float, float]]) -> Points:
        """From (step, value, time) in any order; of one step's values the last is kept."""
        unique = sorted({step: (value, time) for step, value, time in rows}.items())
        return cls(
            np.array([step for step, _ in unique], dtype=np.int64),
            np.array([pair[0] for _, pair in unique], dtype=np.float64),
            np.array([pair[1] for _, pair in unique], dtype=np.float64),
        )

    @classmethod
    def join(cls, parts: Sequence[Points]) -> Points:
        """Parts in the order of their steps; where two hold a step, the later part's value is kept."""
        if not parts:
            return cls.of([])
        steps = np.concatenate([part.steps for part in parts])
        values = np.concatenate([part.values for part in parts])
        times = np.concatenate([part.times for part in parts])
        if np.all(np.diff(steps) > 0):
            return cls(steps, values, times)
        last_of = len(steps) - 1 - np.unique(steps[::-1], return_index=True)[1]
        return cls(steps[last_of], values[last_of], times[last_of])


class SeriesWriter:
    """Adds points to a run's series inside the ingest's transaction."""

    def __init__(self, session: Session, run: int) -> None:
        self.session = session
        self.run = run
        self.series = {row.name: row for row in session.exec(select(Series).where(Series.run == run)).all()}

    def add(self, name: str, points: Points) -> None:
        """Upsert points; whole blocks go straight into chunks, so that a long backlog costs no row a point."""
        row = self.series.get(name)
        if row is None:
            row = self.series[name] = Series(run=self.run, name=name)
            self.session.add(row)
            self.session.flush()
        assert row.key is not None
        if points.steps[0] <= row.last_step:
            points = Points.join([self._take_from(row, int(points.steps[0])), points])
        tail = row.total - row.packed
        if tail + len(points) >= BLOCK:
            points = Points.join([self._take_tail(row), points])
            points = self._pack_blocks(row, points)
        upsert_points(self.session, row.key, points.steps, points.values, points.times)
        row.total += len(points)
        if len(points):
            row.last_step = max(row.last_step, int(points.steps[-1]))

    def trim(self, after_step: int) -> bool:
        """Take away every point past `after_step`: a resumed trainer writes them again. Says if there were any."""
        removed = False
        for row in self.series.values():
            if row.last_step <= after_step:
                continue
            removed = True
            kept = self._take_from(row, after_step + 1, keep_until=after_step)
            row.last_step = self._end(row)
            if len(kept):
                assert row.key is not None
                upsert_points(self.session, row.key, kept.steps, kept.values, kept.times)
                row.total += len(kept)
                row.last_step = int(kept.steps[-1])
        return removed

    def _take_from(self, row: Series, step: int, keep_until: int | None = None) -> Points:
        """Remove the tail's points from `step` on and every chunk that reaches it; give back what to write again.

        That is all of them, or with `keep_until` only those up to it.
        """
        parts = []
        for chunk in self.session.exec(
            select(Chunk).where(Chunk.series == row.key, col(Chunk.last_step) >= step).order_by(col(Chunk.number))
        ).all():
            parts.append(Points.unpack(chunk.data))
            row.total -= chunk.count
            row.packed -= chunk.count
            self.session.delete(chunk)
        parts.append(self._take_tail(row, step if not parts else None))
        points = Points.join(parts)
        row.packed_step = self._packed_end(row)
        return points if keep_until is None else points.take(points.steps <= keep_until)

    def _take_tail(self, row: Series, step: int | None = None) -> Points:
        where = [Point.series == row.key] if step is None else [Point.series == row.key, col(Point.step) >= step]
        points = tail_points(self.session, where)
        self.session.exec(delete(Point).where(*where))
        row.total -= len(points)
        return points

    def _pack_blocks(self, row: Series, points: Points) -> Points:
        number = row.packed // BLOCK
        whole = len(points) - len(points) % BLOCK
        for start in range(0, whole, BLOCK):
            block = points.take(slice(start, start + BLOCK))
            self.session.add(
                Chunk(
                    series=row.key or 0,
                    number=number + start // BLOCK,
                    count=BLOCK,
                    first_step=int(block.steps[0]),
                    last_step=int(block.steps[-1]),
                    data=block.pack(),
                    level=extremes(block, BLOCK // BUCKET).pack(),
                )
            )
        if whole:
            row.total += whole
            row.packed += whole
            row.packed_step = row.last_step = int(points.steps[whole - 1])
        self.session.flush()
        return points.take(slice(whole, None))

    def _packed_end(self, row: Series) -> int:
        self.session.flush()
        end = self.session.exec(select(func.max(Chunk.last_step)).where(Chunk.series == row.key)).one()
        return -1 if end is None else end

    def _end(self, row: Series) -> int:
        tail = self.session.exec(select(func.max(Point.step)).where(Point.series == row.key)).one()
        return max(row.packed_step, -1 if tail is None else tail)


def tail_points(session: Session, where: list[Any]) -> Points:
    rows = session.exec(select(Point.step, Point.value, Point.kind, Point.time).where(*where).order_by(col(Point.step)))
    return Points.of([(s, v if v is not None else NONFINITE[k or "NaN"], t) for s, v, k, t in rows.all()])


def extremes(points: Points, buckets: int) -> Points:
    """Each bucket's least and greatest point, and every non-finite one: no spike is lost."""
    if len(points) <= 2 * buckets:
        return points
    edges = np.linspace(0, len(points), buckets + 1).astype(int)
    finite = np.isfinite(points.values)
    low = np.where(finite, points.values, np.inf)
    high = np.where(finite, points.values, -np.inf)
    keep = ~finite
    keep[-1] = True
    for start, stop in pairwise(edges.tolist()):
        keep[start + np.argmin(low[start:stop])] = True
        keep[start + np.argmax(high[start:stop])] = True
    return points.take(np.flatnonzero(keep))


class Metrics:
    def __init__(self, database: Database) -> None:
        self.database = database

    def names(self, run_id: str) -> list[str]:
        with self.database.read() as session:
            return sorted(row.name for row in self._series(session, run_id).values())

    def read(
        self, run_id: str, names: Sequence[str] | None = None, points: int = 1000, after_step: int | None = None
    ) -> dict[str, Any]:
        """Each series down-sampled to about `points` points (all of them when there are no more), as api.md has it."""
        with self.database.read() as session:
            known = self._series(session, run_id)
            wanted = known if names is None else {name: known[name] for name in names if name in known}
            return {"series": {name: self._read(session, row, points, after_step) for name, row in wanted.items()}}

    def csv(self, run_id: str) -> Iterator[str]:
        """Every point as run-ordered rows of series, step, value, time."""
        with self.database.read() as session:
            series = self._series(session, run_id)
            yield "series,step,value,time\r\n"
            for name in sorted(series):
                points = self._points(session, series[name], None, coarse=False)
                buffer = io.StringIO()
                rows = zip(points.steps.tolist(), points.values.tolist(), points.times.tolist(), strict=True)
                csv.writer(buffer).writerows((name, *row) for row in rows)
                yield buffer.getvalue()

    def _series(self, session: Session, run_id: str) -> Mapping[str, Series]:
        key = session.exec(select(Run.key).where(Run.id == run_id)).first()
        if key is None:
            raise not_found("run", run_id)
        return {row.name: row for row in session.exec(select(Series).where(Series.run == key)).all()}

    def _read(self, session: Session, row: Series, count: int, after_step: int | None) -> dict[str, Any]:
        coarse = after_step is None and row.total // (BUCKET // 2) >= 2 * count
        points = self._points(session, row, after_step, coarse=coarse)
        total = row.total
        if len(points) > count:
            points = extremes(points, max(1, count // 2))
        return encode(points) | {"total": total}

    def _points(self, session: Session, row: Series, after_step: int | None, *, coarse: bool) -> Points:
        where = [Chunk.series == row.key]
        if after_step is not None:
            where.append(col(Chunk.last_step) > after_step)  # type: ignore[arg-type]
        column = Chunk.level if coarse else Chunk.data
        blobs = session.exec(select(column).where(*where).order_by(col(Chunk.number))).all()
        points = Points.join([*map(Points.unpack, blobs), tail_points(session, [Point.series == row.key])])
        return points if after_step is None else points.take(points.steps > after_step)


def encode(points: Points) -> dict[str, Any]:
    """As JSON has it: non-finite values are null, and named beside."""
    finite = np.isfinite(points.values)
    values: list[float | None] = points.values.tolist()
    body: dict[str, Any] = {"step": points.steps.tolist(), "value": values, "time": points.times.tolist()}
    if not finite.all():
        bad = np.flatnonzero(~finite).tolist()
        body["nonfinite"] = [
            {"step": body["step"][index], "kind": nonfinite_name(points.values[index])} for index in bad
        ]
        for index in bad:
            values[index] = None
    return body
