"""A run as MLflow stores it, whichever way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

DELETED = "deleted"  # a lifecycle stage


class Point(NamedTuple):
    name: str
    step: int
    value: float
    time: int  # UNIX milliseconds


@dataclass(frozen=True)
class StoredRun:
    id: str
    name: str
    experiment: str
    status: str  # RUNNING, SCHEDULED, FINISHED, FAILED or KILLED
    start: int  # UNIX milliseconds
    end: int  # 0: it has not ended
    parent: str = ""  # the name of the run that this one is nested in
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)  # of a series in the order in which they were logged
    artifacts: Path | None = None  # their folder, if it is here
    unread: int = 0  # lines that are not as MLflow writes them
