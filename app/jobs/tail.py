"""How far a job's event files have been read, and whether there is more."""

from __future__ import annotations

from pathlib import Path

from app.storage.tables import Job
from trainer.rundir.events import attempts


def position(run: Job, run_dir: Path) -> tuple[int, int]:
    """Where to read on: the file that was being read until it is drained and a newer one says something.

    An attempt that was killed before its first word has left an empty file, and is passed over.
    """
    attempt, offset = run.tail_attempt, run.tail_offset
    folder = run_dir / "events"
    if _has_line(folder / f"{attempt}.jsonl", offset):
        return attempt, offset
    newer = (number for number in attempts(run_dir) if number > attempt)
    following = next((number for number in newer if _has_line(folder / f"{number}.jsonl", 0)), None)
    return (attempt, offset) if following is None else (following, 0)


def is_behind(run: Job, run_dir: Path) -> bool:
    """Whether a whole line waits to be read."""
    attempt, offset = position(run, run_dir)
    return _has_line(run_dir / "events" / f"{attempt}.jsonl", offset)


def _has_line(path: Path, offset: int) -> bool:
    try:
        if path.stat().st_size <= offset:
            return False
        with path.open("rb") as file:
            file.seek(offset)
            return b"\n" in file.read(1 << 16) or b"\n" in file.read()
    except FileNotFoundError:
        return False
