"""The checkpoints of a run directory: their files, sidecars and order. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import TrainerError
from trainer.rundir.folder import RunDir

KEPT = 2


class CheckpointInfo(BaseModel):
    model_config = ConfigDict(frozen=True)

    step: int
    epoch: int
    sha256: str
    size: int
    metrics: dict[str, float]
    best: bool


class CheckpointDamaged(TrainerError):
    """A checkpoint's file is missing, cannot be read, or does not have the hash that its sidecar records."""


def has_checkpoint(run_dir: Path) -> bool:
    """Return whether a sidecar exists, without reading it."""
    return any(_sidecars(run_dir))


def list_checkpoints(run_dir: Path) -> list[CheckpointInfo]:
    """Return the checkpoints in order of their steps. Only the sidecars are read."""
    run, found = RunDir(run_dir), []
    for path in sorted(_sidecars(run_dir)):
        try:
            info = CheckpointInfo.model_validate_json(path.read_bytes())
        except (ValidationError, FileNotFoundError):
            continue
        if run.weights(info.step).exists():
            found.append(info)
    return found


def best_checkpoint(run_dir: Path) -> CheckpointInfo | None:
    """Return the latest checkpoint that was the best when it was written, else the last one."""
    found = list_checkpoints(run_dir)
    return next((info for info in reversed(found) if info.best), found[-1] if found else None)


def last_checkpoint(run_dir: Path) -> CheckpointInfo | None:
    found = list_checkpoints(run_dir)
    return found[-1] if found else None


def superseded_checkpoints(run_dir: Path) -> list[int]:
    """Return the steps of the checkpoints that are neither the best nor among the last KEPT."""
    found = list_checkpoints(run_dir)
    best = best_checkpoint(run_dir)
    keep = {info.step for info in found[-KEPT:]} | ({best.step} if best else set())
    return [info.step for info in found if info.step not in keep]


def remove_checkpoints(run_dir: Path, steps: list[int]) -> None:
    """Delete checkpoints, the sidecars first, so that every listed checkpoint can be loaded."""
    run = RunDir(run_dir)
    for step in steps:
        run.sidecar(step).unlink(missing_ok=True)
    for step in steps:
        run.weights(step).unlink(missing_ok=True)


def _sidecars(run_dir: Path) -> Iterator[Path]:
    return RunDir(run_dir).checkpoints.glob("[0-9]*.json")
