"""Levels of detail above the chunks, so that a long series is read at the cost of what is drawn.

A node of level k covers FAN^k chunks side by side and holds their extremes in at most about BUCKETS buckets; it
is written with the chunk that completes it. What no node covers yet is read from the level below.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.metrics.downsample import extremes, width_for
from app.metrics.points import Points
from app.storage.tables import Chunk, Level

FAN = 32
BUCKETS = 32


class LevelWriter:
    """Keeps one series' nodes, inside the ingest's transaction."""

    def __init__(self, session: Session, series: int) -> None:
        self.session = session
        self.series = series

    def add(self, chunk: Chunk) -> None:
        """`chunk` is in the session: write every node that it completes."""
        done, level = chunk.number + 1, 1
        while done % FAN == 0:
            done //= FAN
            self.session.flush()
            self._write(level, done - 1, self._children(level, done - 1))
            level += 1

    def take_from(self, step: int) -> None:
        """Remove the nodes that reach `step`: chunks of theirs are being taken away."""
        self.session.exec(delete(Level).where(col(Level.series) == self.series, col(Level.last_step) >= step))

    def _children(self, level: int, number: int) -> Sequence[tuple[int, int, bytes]]:
        table, own = (Chunk, []) if level == 1 else (Level, [Level.level == level - 1])
        blob = Chunk.level if level == 1 else Level.data
        return self.session.exec(
            select(table.first_step, table.last_step, blob)
            .where(
                table.series == self.series,
                col(table.number) >= FAN * number,
                col(table.number) < FAN * (number + 1),
                *own,
            )
            .order_by(col(table.number))
        ).all()

    def _write(self, level: int, number: int, children: Sequence[tuple[int, int, bytes]]) -> None:
        if len(children) < FAN:
            return  # a level that an older version did not write has no parents
        first, last = children[0][0], children[-1][1]
        width = width_for(first, last, BUCKETS)
        points = extremes(Points.join([Points.unpack(blob) for _, _, blob in children]), width)
        self.session.add(
            Level(
                series=self.series,
                level=level,
                number=number,
                first_step=first,
                last_step=last,
                width=width,
                data=points.pack(),
            )
        )


def coarse_points(session: Session, series: int, width: int) -> Points:
    """What the chunks hold, no finer than needed for buckets `width` steps wide.

    The coarsest nodes that are fine enough, after them finer ones, at last the chunks' own points.
    """
    parts, reached = [], 0  # chunks that are covered
    deepest = session.exec(
        select(Level.level).where(Level.series == series).order_by(col(Level.level).desc()).limit(1)
    ).first()
    for level in range(deepest or 0, 0, -1):
        span = FAN**level
        nodes = session.exec(
            select(Level.number, Level.width, Level.data)
            .where(Level.series == series, Level.level == level, col(Level.number) >= reached // span)
            .order_by(col(Level.number))
        ).all()
        for number, fineness, data in nodes:
            if fineness > width or number * span != reached:
                break
            parts.append(Points.unpack(data))
            reached += span
    coarse = session.exec(
        select(Chunk.number, Chunk.level)
        .where(Chunk.series == series, col(Chunk.number) >= reached, col(Chunk.width) <= width)
        .order_by(col(Chunk.number))
    ).all()
    for number, data in coarse:
        if number != reached:
            break
        parts.append(Points.unpack(data))
        reached += 1
    fine = session.exec(
        select(Chunk.data).where(Chunk.series == series, col(Chunk.number) >= reached).order_by(col(Chunk.number))
    ).all()
    return Points.join([*parts, *map(Points.unpack, fine)])
