"""How far a job's events have been written to rows, and whether there is more."""

from __future__ import annotations

from pathlib import Path

from app.storage.tables import Job
from trainer.rundir.events import Position, next_position


def tail_of(job: Job) -> Position:
    return Position(job.tail_attempt, job.tail_offset)


def is_behind(job: Job, folder: Path) -> bool:
    """Whether a whole line waits to be read."""
    return next_position(folder, tail_of(job)) is not None
