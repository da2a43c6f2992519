"""Levels of detail above the chunks, so that the cost of reading a long series depends only on the points drawn.

A node of level k covers FANOUT^k consecutive chunks and holds their extremes in about BUCKETS buckets at most. It is
written together with the chunk that completes it. Chunks that no node covers yet are read from the level below.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.metrics.downsample import extremes, width_for
from app.metrics.points import Points
from app.storage.tables import Chunk, Level

FANOUT = 32
BUCKETS = 32


class LevelWriter:
    """Writes and removes the nodes of one series, inside the ingest transaction."""

    def __init__(self, session: Session, series: int) -> None:
        self.session = session
        self.series = series

    def add(self, chunk: Chunk) -> None:
        """Write every node that `chunk`, which must be in the session, completes."""
        done, level = chunk.number + 1, 1
        while done % FANOUT == 0:
            done //= FANOUT
            self.session.flush()
            self._write(level, done - 1, self._children(level, done - 1))
            level += 1

    def remove_from(self, step: int) -> None:
        """Remove the nodes that reach `step`, since chunks that they cover are being removed."""
        self.session.exec(delete(Level).where(col(Level.series) == self.series, col(Level.last_step) >= step))

    def _children(self, level: int, number: int) -> Sequence[tuple[int, int, bytes]]:
        table, level_filter = (Chunk, []) if level == 1 else (Level, [Level.level == level - 1])
        blob = Chunk.level if level == 1 else Level.data
        return self.session.exec(
            select(table.first_step, table.last_step, blob)
            .where(
                table.series == self.series,
                col(table.number) >= FANOUT * number,
                col(table.number) < FANOUT * (number + 1),
                *level_filter,
            )
            .order_by(col(table.number))
        ).all()

    def _write(self, level: int, number: int, children: Sequence[tuple[int, int, bytes]]) -> None:
        if len(children) < FANOUT:
            return  # an older version did not write all nodes of the level below
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
    """Read the points of the chunks, no finer than needed for buckets `width` steps wide.

    Reads the coarsest nodes that are fine enough, then finer ones, and finally the chunks' own points.
    """
    parts, reached = [], 0  # reached: the number of chunks read so far
    deepest = session.exec(
        select(Level.level).where(Level.series == series).order_by(col(Level.level).desc()).limit(1)
    ).first()
    for level in range(deepest or 0, 0, -1):
        span = FANOUT**level
        nodes = session.exec(
            select(Level.number, Level.width, Level.data)
            .where(Level.series == series, Level.level == level, col(Level.number) >= reached // span)
            .order_by(col(Level.number))
        ).all()
        for number, node_width, data in nodes:
            if node_width > width or number * span != reached:
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
