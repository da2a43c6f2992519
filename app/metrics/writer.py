"""Write the points of series and pack them into chunks of BLOCK points."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import delete, func, insert
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.metrics.downsample import extremes, width_for
from app.metrics.levels import BUCKETS, LevelWriter
from app.metrics.points import Points
from app.storage.db import PointRow, rows_of, upsert_points, upsert_rows
from app.storage.tables import Chunk, Point, Series
from trainer.rundir.events import NONFINITE

BLOCK = 1024
NAMES = 500  # per statement


class SeriesWriter:
    """Adds points to a run's series, inside the ingest transaction.

    `series` are the run's series by name; with `names`, those of them that exist: a script may log very many.
    """

    def __init__(self, session: Session, run: int, names: Collection[str] | None = None) -> None:
        self.session = session
        self.run = run
        self.series: dict[str, Series] = {}
        self._begun: set[str] = set()  # inserted by this writer, and not among `series` yet
        self.load(names)

    def load(self, names: Collection[str] | None = None) -> None:
        """Read the series of these names, or all."""
        every = select(Series).where(Series.run == self.run)
        if names is None:
            self.series |= {row.name: row for row in self.session.exec(every).all()}
            return
        wanted = [name for name in names if name not in self.series]
        for start in range(0, len(wanted), NAMES):
            some = every.where(col(Series.name).in_(wanted[start : start + NAMES]))
            self.series |= {row.name: row for row in self.session.exec(some).all()}

    def row(self, name: str) -> Series | None:
        """Return a series, also one that was begun just now; None if there is none."""
        if name in self._begun:
            self._load_begun()
        return self.series.get(name)

    def _load_begun(self) -> None:
        self.load(self._begun)
        self._begun.clear()

    def add_all(self, points: Mapping[str, Points]) -> None:
        """Add points of many series. Those that only add rows to the tails are written in one statement."""
        if not self._begun.isdisjoint(points):
            self._load_begun()
        short = {name: some for name, some in points.items() if 0 < len(some) < BLOCK}
        rows = self._begin({name: some for name, some in short.items() if name not in self.series})
        for name, some in points.items():
            row = self.series.get(name)
            fits = row is not None and row.total - row.packed + len(some) < BLOCK
            if row is not None and fits and len(some) and some.steps[0] > row.last_step:
                rows += rows_of(row.key or 0, some.steps, some.values, some.times)
                row.total += len(some)
                row.last_step = int(some.steps[-1])
            elif len(some) and (row is not None or name not in short):
                self.add(name, some)
        upsert_rows(self.session, rows)

    def _begin(self, points: Mapping[str, Points]) -> list[PointRow]:
        """Insert new series, and return the rows of their points. The series are not among `series` yet.

        Without an object for each, of which a script may begin very many at once.
        """
        if not points:
            return []
        values = [
            {
                "run": self.run,
                "name": name,
                "total": len(some),
                "packed": 0,
                "packed_step": -1,
                "last_step": int(some.steps[-1]),
            }
            for name, some in points.items()
        ]
        self.session.connection().execute(insert(Series), values)
        self._begun |= points.keys()
        names, keys = list(points), dict[str, int]()
        for start in range(0, len(names), NAMES):
            some = col(Series.run) == self.run, col(Series.name).in_(names[start : start + NAMES])
            found = select_columns(col(Series.name), col(Series.key)).where(*some)
            rows: Any = self.session.connection().execute(found).all()
            keys |= dict(rows)
        return [row for name, p in points.items() for row in rows_of(keys[name], p.steps, p.values, p.times)]

    def add(self, name: str, points: Points) -> None:
        """Upsert points. Whole blocks are written as chunks, so that a long backlog does not cost one row per point."""
        row = self.series.get(name)
        if row is None:
            row = self.series[name] = Series(run=self.run, name=name)
            self.session.add(row)
            self.session.flush()
        assert row.key is not None
        if points.steps[0] <= row.last_step:
            points = Points.join([self._pop_from(row, int(points.steps[0])), points])
        tail = row.total - row.packed
        if tail + len(points) >= BLOCK:
            points = Points.join([self._pop_tail(row), points])
            points = self._pack_blocks(row, points)
        upsert_points(self.session, row.key, points.steps, points.values, points.times)
        row.total += len(points)
        if len(points):
            row.last_step = max(row.last_step, int(points.steps[-1]))

    def trim(self, after_step: int) -> bool:
        """Remove all points past `after_step`, since a resumed trainer rewrites them. Returns whether any existed."""
        self._load_begun()
        removed = False
        for row in self.series.values():
            if row.last_step <= after_step:
                continue
            removed = True
            kept = self._pop_from(row, after_step + 1, keep_until=after_step)
            row.last_step = self._last_step(row)
            if len(kept):
                assert row.key is not None
                upsert_points(self.session, row.key, kept.steps, kept.values, kept.times)
                row.total += len(kept)
                row.last_step = int(kept.steps[-1])
        return removed

    def _pop_from(self, row: Series, step: int, keep_until: int | None = None) -> Points:
        """Remove every chunk that reaches `step`, and the tail from `step` on; the whole tail if a chunk was removed.

        Returns the removed points that must be written again: all of them, or those up to `keep_until`.
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
            LevelWriter(self.session, row.key or 0).remove_from(step)
        parts.append(self._pop_tail(row, step if not parts else None))
        points = Points.join(parts)
        row.packed_step = self._last_packed_step(row)
        return points if keep_until is None else points.take(points.steps <= keep_until)

    def _pop_tail(self, row: Series, step: int | None = None) -> Points:
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

    def _last_packed_step(self, row: Series) -> int:
        self.session.flush()
        end = self.session.exec(select(func.max(Chunk.last_step)).where(Chunk.series == row.key)).one()
        return -1 if end is None else end

    def _last_step(self, row: Series) -> int:
        tail = self.session.exec(select(func.max(Point.step)).where(Point.series == row.key)).one()
        return max(row.packed_step, -1 if tail is None else tail)


def tail_points(session: Session, where: list[Any]) -> Points:
    rows = session.exec(select(Point.step, Point.value, Point.kind, Point.time).where(*where).order_by(col(Point.step)))
    return Points.of([(s, v if v is not None else NONFINITE[k or "NaN"], t) for s, v, k, t in rows.all()])
