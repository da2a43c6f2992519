"""Disk usage of the home, and the largest runs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from pydantic import BaseModel
from sqlalchemy import func
from sqlmodel import Session, col, select

from app.settings import Settings
from app.storage.product import stored_bytes
from app.storage.tables import Checkpoint, Run

LARGEST_RUNS = 8


class Disk(BaseModel):
    """Bytes. `checkpoints` and `database` are counted one by one; `used` and `total` are of the whole disk."""

    total: int
    used: int
    free: int
    checkpoints: int
    datasets: int
    database: int


@dataclass(frozen=True)
class LargestRun:
    """A run with the number of its checkpoints and their total size in bytes."""

    id: str
    name: str
    count: int
    size: int


def disk(session: Session, settings: Settings) -> Disk:
    usage = shutil.disk_usage(settings.home)
    checkpoint_bytes = session.exec(select(func.coalesce(func.sum(Checkpoint.size), 0))).one()
    return Disk(
        total=usage.total,
        used=usage.used,
        free=usage.free,
        checkpoints=int(checkpoint_bytes),
        datasets=sum(file.stat().st_size for file in settings.datasets.glob("*/*") if file.is_file()),
        database=stored_bytes(session),
    )


def largest_runs(session: Session) -> tuple[LargestRun, ...]:
    """Return the LARGEST_RUNS runs with the largest checkpoints in total, the largest first."""
    size = func.sum(Checkpoint.size)
    statement = (
        select(Run.id, Run.name, func.count(), size)
        .join(Checkpoint, col(Checkpoint.run) == col(Run.key))
        .group_by(col(Run.key))
        .order_by(size.desc())
        .limit(LARGEST_RUNS)
    )
    return tuple(LargestRun(*row) for row in session.exec(statement).all())
