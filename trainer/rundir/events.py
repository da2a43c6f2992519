"""The event files of a job: one JSON object per line, one file per attempt, append-only. Free of torch."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from trainer.rundir.event_shapes import NONFINITE, SHAPES, Shapes, is_well_formed
from trainer.rundir.folder import JobDir

__all__ = [
    "NONFINITE", "Block", "Event", "EventWriter", "Position", "attempts", "next_position", "nonfinite_name",
    "read_block", "read_from", "read_on", "walk",
]  # fmt: skip

Event = dict[str, Any]

BLOCK = 4 << 20  # bytes read at a time

log = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Position:
    """A position in a job's events: byte `offset` in the file of `attempt`."""

    attempt: int = 0
    offset: int = 0


class EventWriter:
    """Appends events to an attempt's file, with one `write` per line, so that readers see complete lines only."""

    def __init__(self, run_dir: Path, attempt: int) -> None:
        job = JobDir(run_dir)
        job.events_folder.mkdir(exist_ok=True)
        self.path = job.events(attempt)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._torn = False  # the last line is incomplete: the disk was full

    def emit(self, kind: str, /, **fields: Any) -> None:
        self._write({"e": kind, "t": time.time(), **fields})

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write one value of each series at `step`. NaN and infinities are written as strings."""
        safe = {name: v if math.isfinite(v) else nonfinite_name(v) for name, v in values.items()}
        self._write({"e": "metrics", "t": time.time(), "step": step, "v": safe})

    def _write(self, event: Event) -> None:
        line = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
        if self._torn:
            line = b"\n" + line
        written = os.write(self._fd, line)
        while written < len(line):
            self._torn = True
            written += os.write(self._fd, line[written:])
        self._torn = False

    def sync(self) -> None:
        """Make the events written so far durable. Called before a checkpoint that depends on them is written."""
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def nonfinite_name(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def attempts(run_dir: Path) -> list[int]:
    """Return the attempts that have an event file, in order."""
    return sorted(int(path.stem) for path in JobDir(run_dir).events_folder.glob("*.jsonl") if path.stem.isdigit())


def walk(
    job_dir: Path, after: Position = Position(), until: Position | None = None, shapes: Shapes = SHAPES
) -> Iterator[tuple[int, Event]]:
    """Yield a job's events from `after` up to `until` or the last complete line, each with its attempt."""
    at = next_position(job_dir, after)
    while at is not None and (until is None or at < until):
        limit = BLOCK if until is None or at.attempt < until.attempt else min(BLOCK, until.offset - at.offset)
        block = read_block(JobDir(job_dir).events(at.attempt), at.offset, limit, shapes)
        for event in block.events:
            yield at.attempt, event
        at = next_position(job_dir, Position(at.attempt, block.end))


def read_on(job_dir: Path, after: Position) -> tuple[list[Event], Position]:
    """Return a block of the events after `after`, all of one attempt, and the position after them."""
    at = next_position(job_dir, after)
    if at is None:
        return [], after
    events, offset = read_from(JobDir(job_dir).events(at.attempt), at.offset)
    return events, Position(at.attempt, offset)


def next_position(job_dir: Path, after: Position) -> Position | None:
    """Return the position of the next complete line, in the current file or the first later one that has a line.

    The empty file of an attempt that was killed before its first event is skipped. None if there is no complete line.
    """
    job = JobDir(job_dir)
    if _has_line(job.events(after.attempt), after.offset):
        return after
    newer = (number for number in attempts(job_dir) if number > after.attempt)
    return next((Position(number) for number in newer if _has_line(job.events(number), 0)), None)


def _has_line(path: Path, offset: int) -> bool:
    try:
        if path.stat().st_size <= offset:
            return False
        with path.open("rb") as file:
            file.seek(offset)
            return b"\n" in file.read(1 << 16) or b"\n" in file.read()
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class Block:
    """Events, the byte offset after them, and how many complete lines among them were no events."""

    events: list[Event]
    end: int
    passed_over: int = 0


def read_from(path: Path, offset: int, limit: int = BLOCK) -> tuple[list[Event], int]:
    """Return the events of a trainer after byte `offset` as `read_block` does, and the offset after them."""
    block = read_block(path, offset, limit)
    return block.events, block.end


def read_block(path: Path, offset: int, limit: int = BLOCK, shapes: Shapes = SHAPES) -> Block:
    """Return the events of the complete lines after byte `offset`, about `limit` bytes.

    A last line without a newline is not read: it is still being written, or was never completed. A complete line that
    is not an event (a corrupt file) is skipped.
    """
    with path.open("rb") as file:
        file.seek(offset)
        block = file.read(limit)
        if block and b"\n" not in block:
            block += file.readline()
    end = block.rfind(b"\n") + 1
    events, passed_over = [], 0
    malformed: Event | None = None
    for line in block[:end].split(b"\n")[:-1]:
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:  # also the rest of a line that `offset` lies in: nothing to warn of
            passed_over += bool(line.strip())
            continue
        if isinstance(event, dict) and "e" in event and is_well_formed(event, shapes):
            events.append(event)
            continue
        passed_over += 1
        if isinstance(event, dict) and "e" in event:
            malformed = malformed or event
    if malformed is not None:
        log.warning("%s: passed over malformed events, the first: %.200s", path, malformed)
    return Block(events, offset + end, passed_over)
