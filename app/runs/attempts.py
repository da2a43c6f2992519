"""When a run was executed: each attempt's first step, start and end, as its event files say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer.rundir.event_shapes import SHAPES, Shapes
from trainer.rundir.events import attempts, read_block
from trainer.rundir.folder import JobDir

TAIL = 1 << 16  # bytes that hold the last event of an attempt


@dataclass(frozen=True)
class Attempt:
    """`number` counts from 1, `step` is the step that it continued from; `start` and `end` (its last event so far) are
    UNIX seconds."""

    number: int
    step: int
    start: float
    end: float


def attempts_of(run_dir: Path, shapes: Shapes = SHAPES) -> list[Attempt]:
    """Return the attempts in order, without those whose events cannot be read."""
    found = []
    for number in attempts(run_dir):
        path = JobDir(run_dir).events(number)
        try:
            first = read_block(path, 0, TAIL, shapes).events
            last = read_block(path, max(0, path.stat().st_size - TAIL), TAIL, shapes).events
        except OSError:
            continue
        start = next((event for event in first if event["e"] == "start"), None)
        if start is not None:
            found.append(Attempt(number, start["from_step"], start["t"], (last or first)[-1]["t"]))
    return found
