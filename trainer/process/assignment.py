"""What a worker hands to a trainer, by way of the fork server. Free of torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Assignment:
    """A run to train. Without `orphan_seconds` no worker is expected to own the run."""

    run_dir: str
    datasets: str
    device: str
    attempt: int
    orphan_seconds: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "run", **asdict(self)}


@dataclass(frozen=True)
class TaskAssignment:
    """A task to do."""

    run_dir: str
    attempt: int

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "task", **asdict(self)}
