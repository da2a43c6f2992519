"""What a worker sends to a trainer through the fork server. Free of torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Assignment:
    """A run to train. `orphan_seconds`: how long the owner file may stay unchanged; None: no worker owns the run.

    `cache`: the folder in which it is remembered how networks are executed fastest; None: it is not.
    `others`: the devices of the processes that train the run together with the first one, which is on `device`. It
    forks them, or waits for them at its address `listen`; of them all, `sharing` are on its machine then.
    """

    run_dir: str
    datasets: str
    device: str
    attempt: int
    orphan_seconds: float | None = None
    cache: str | None = None
    others: tuple[str, ...] = ()
    listen: str | None = None
    sharing: int = 1

    @property
    def folder(self) -> Path:
        return Path(self.run_dir)

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "run", **asdict(self)}


@dataclass(frozen=True)
class TaskAssignment:
    """A task to run."""

    run_dir: str
    attempt: int

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "task", **asdict(self)}


@dataclass(frozen=True)
class FollowAssignment:
    """To be another rank than the first of a run's `size`, on a seat of its own. `meeting`: where rank 0 waits for it.

    `address` is that of this machine; `sharing` of the ranks are on it.
    """

    run_dir: str
    datasets: str
    device: str
    attempt: int
    rank: int
    size: int
    address: str
    sharing: int
    meeting: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "rank", **asdict(self)}


AnyAssignment = Assignment | TaskAssignment | FollowAssignment
