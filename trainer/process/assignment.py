"""What a worker hands to a trainer. Free of torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Assignment:
    """Without `orphan_seconds` nobody is expected to own the run."""

    run_dir: str
    datasets: str
    device: str
    attempt: int
    orphan_seconds: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
