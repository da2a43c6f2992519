"""What a block of a script's events has, as it is read: settings and the summary are merged, the rest is collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from app.jobs.batch import Batch
from app.storage.tables import LogLine, ScriptRecord
from trainer.rundir.event_shapes import LONGEST_NAME

MOST_SUMMARY = 100  # series whose latest values the summary has
LARGEST_CONFIG = 4 << 20  # bytes of JSON
LONGEST_TEXT = 500


@dataclass
class ScriptBatch(Batch):
    """Besides: the log lines of a block, and the lines and values that could not be used."""

    lines: list[LogLine] = field(default_factory=list)
    passed_over: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    media_left: int | None = None  # how many the run may still log; None before it was counted


def merge_config(record: ScriptRecord, batch: ScriptBatch, values: Mapping[str, Any]) -> None:
    config = merged(record.config, values)
    if len(orjson.dumps(config)) > LARGEST_CONFIG:
        batch.passed_over += 1
    else:
        record.config = config


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return `old` with the values of `new`; mappings in both are merged in turn."""
    found = dict(old)
    for name, value in new.items():
        before = found.get(name)
        found[name] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return found


def summarize(batch: ScriptBatch, values: Mapping[str, Any]) -> None:
    """Add a script's own summary, which may have texts."""
    for name, value in islice(values.items(), 10 * MOST_SUMMARY):
        known = name in batch.summary or len(batch.summary) < 2 * MOST_SUMMARY
        if known and len(name) <= LONGEST_NAME and (value is None or isinstance(value, str | int | float)):
            batch.summary[name] = value[:LONGEST_TEXT] if isinstance(value, str) else value
        else:
            batch.passed_over += 1
