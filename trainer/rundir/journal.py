"""The run's journal, meta.jsonl: what users added and requested, one JSON object per line. Free of torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson

from trainer.rundir.folder import JobDir
from trainer.system.durable import append_durably


def journal(run_dir: Path, kind: str, **fields: Any) -> None:
    """Append a line to meta.jsonl; it is durable when this returns."""
    line = orjson.dumps({"e": kind, "t": time.time(), **fields}, option=orjson.OPT_APPEND_NEWLINE)
    append_durably(JobDir(run_dir).journal, line)


def journal_length(run_dir: Path) -> int:
    """The length of meta.jsonl in bytes, which tells whether there are new lines."""
    try:
        return JobDir(run_dir).journal.stat().st_size
    except FileNotFoundError:
        return 0


def read_journal(run_dir: Path) -> list[dict[str, Any]]:
    """Return the journal's lines.

    A line left incomplete by a crash was not acknowledged: it is skipped, as is one that is no object.
    """
    path = JobDir(run_dir).journal
    if not path.exists():
        return []
    lines = []
    for line in path.read_bytes().splitlines():
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(entry, dict):
            lines.append(entry)
    return lines
