"""The position up to which a job's events were ingested, and whether there are more."""

from __future__ import annotations

from pathlib import Path

from app.storage.tables import Job
from trainer.rundir.events import Position, next_position


def tail_of(job: Job) -> Position:
    return Position(job.tail_attempt, job.tail_offset)


def is_behind(job: Job, folder: Path) -> bool:
    """Whether the event files have a complete line that was not ingested yet."""
    return next_position(folder, tail_of(job)) is not None
