"""The event files of a run: one JSON object a line, one file an attempt, append-only. Free of torch."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from trainer.rundir.event_shapes import NONFINITE, is_well_formed

__all__ = ["NONFINITE", "Event", "EventWriter", "attempts", "nonfinite_name", "read_from"]

Event = dict[str, Any]

log = logging.getLogger(__name__)


class EventWriter:
    """Appends events to `events/<attempt>.jsonl`; one `write` a line, so that a reader sees whole lines only."""

    def __init__(self, run_dir: Path, attempt: int) -> None:
        folder = run_dir / "events"
        folder.mkdir(exist_ok=True)
        self.path = folder / f"{attempt}.jsonl"
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._torn = False  # the disk was full in the middle of a line

    def emit(self, kind: str, /, **fields: Any) -> None:
        self._write({"e": kind, "t": time.time(), **fields})

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write one value of each series at `step`; NaN and infinities travel as strings."""
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
        """Make everything written so far durable: called before a checkpoint vouches for it."""
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def nonfinite_name(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def attempts(run_dir: Path) -> list[int]:
    """The attempts that have an event file, in order."""
    return sorted(int(path.stem) for path in (run_dir / "events").glob("*.jsonl") if path.stem.isdigit())


def read_from(path: Path, offset: int, limit: int = 4 << 20) -> tuple[list[Event], int]:
    """The whole lines after byte `offset`, at most about `limit` bytes, and the offset behind them.

    A last line without its newline is left for later: it may still be being written, or torn for ever. A whole line
    that is no event (a disk's corruption) is passed over.
    """
    with path.open("rb") as file:
        file.seek(offset)
        block = file.read(limit)
        if block and b"\n" not in block:
            block += file.readline()
    end = block.rfind(b"\n") + 1
    events = []
    for line in block[:end].splitlines():
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(event, dict) and "e" in event:
            if is_well_formed(event):
                events.append(event)
            else:
                log.warning("%s: passed over: %.200s", path, event)
    return events, offset + end
