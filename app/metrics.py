"""Series of points: a hot tail of rows, packed into chunks with min/max levels as it fills."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from app.downsample import extremes, width_for
from app.errors import not_found
from app.levels import BUCKETS, LevelWriter, coarse_points
from app.points import Points, encode
from app.storage.db import Database, upsert_points
from app.storage.tables import Chunk, Point, Run, Series
from trainer.rundir.events import NONFINITE

BLOCK = 1024


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
        if parts:
            LevelWriter(self.session, row.key or 0).take_from(step)
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
        levels = LevelWriter(self.session, row.key or 0)
        for start in range(0, whole, BLOCK):
            block = points.take(slice(start, start + BLOCK))
            first, last = int(block.steps[0]), int(block.steps[-1])
            width = width_for(first, last, BUCKETS)
            chunk = Chunk(
                series=row.key or 0,
                number=number + start // BLOCK,
                count=BLOCK,
                first_step=first,
                last_step=last,
                data=block.pack(),
                width=width,
                level=extremes(block, width).pack(),
            )
            self.session.add(chunk)
            levels.add(chunk)
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
                points = self._points(session, series[name])
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
        if row.total <= count:
            return encode(self._points(session, row, after_step)) | {"total": row.total}
        buckets = max(1, count // 2)
        if after_step is None:
            first = self._first_step(session, row)
            width = width_for(first, row.last_step, buckets)
            points = Points.join([coarse_points(session, row.key or 0, width), self._tail(session, row)])
        else:
            points = self._points(session, row, after_step)
            if len(points) <= count:
                return encode(points) | {"total": row.total}
            width = width_for(int(points.steps[0]), int(points.steps[-1]), buckets)
        return encode(extremes(points, width)) | {"total": row.total}

    def _points(self, session: Session, row: Series, after_step: int | None = None) -> Points:
        """Every point, or those past a step."""
        where = [Chunk.series == row.key]
        if after_step is not None:
            where.append(col(Chunk.last_step) > after_step)  # type: ignore[arg-type]
        blobs = session.exec(select(Chunk.data).where(*where).order_by(col(Chunk.number))).all()
        points = Points.join([*map(Points.unpack, blobs), self._tail(session, row)])
        return points if after_step is None else points.take(points.steps > after_step)

    def _tail(self, session: Session, row: Series) -> Points:
        return tail_points(session, [Point.series == row.key])

    def _first_step(self, session: Session, row: Series) -> int:
        """0 would do as well, but for runs that go on from another's step."""
        chunk = session.exec(
            select(Chunk.first_step).where(Chunk.series == row.key).order_by(col(Chunk.number)).limit(1)
        ).first()
        if chunk is not None:
            return chunk
        tail = session.exec(select(func.min(Point.step)).where(Point.series == row.key)).one()
        return 0 if tail is None else tail
