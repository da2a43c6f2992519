"""The checkpoints of a run directory: their files, sidecars and order. Free of torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import TrainerError

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
    """The file is not the one that its sidecar vouches for."""


def weights_path(run_dir: Path, step: int) -> Path:
    return run_dir / "checkpoints" / f"{step:08d}.safetensors"


def sidecar_path(run_dir: Path, step: int) -> Path:
    return run_dir / "checkpoints" / f"{step:08d}.json"


def list_checkpoints(run_dir: Path) -> list[CheckpointInfo]:
    """The checkpoints that exist, by step; nothing is read but the sidecars."""
    found = []
    for path in sorted((run_dir / "checkpoints").glob("[0-9]*.json")):
        try:
            info = CheckpointInfo.model_validate_json(path.read_bytes())
        except (ValidationError, FileNotFoundError):
            continue
        if weights_path(run_dir, info.step).exists():
            found.append(info)
    return found


def best_checkpoint(run_dir: Path) -> CheckpointInfo | None:
    """The latest that was the best when it was written, else the last one."""
    found = list_checkpoints(run_dir)
    return next((info for info in reversed(found) if info.best), found[-1] if found else None)


def last_checkpoint(run_dir: Path) -> CheckpointInfo | None:
    found = list_checkpoints(run_dir)
    return found[-1] if found else None


def superseded_checkpoints(run_dir: Path) -> list[int]:
    """Steps of checkpoints that are neither the best nor among the last ones."""
    found = list_checkpoints(run_dir)
    best = best_checkpoint(run_dir)
    keep = {info.step for info in found[-KEPT:]} | ({best.step} if best else set())
    return [info.step for info in found if info.step not in keep]


def remove_checkpoints(run_dir: Path, steps: list[int]) -> None:
    """Take away checkpoints, the sidecar first: what is listed always loads."""
    for step in steps:
        sidecar_path(run_dir, step).unlink(missing_ok=True)
    for step in steps:
        weights_path(run_dir, step).unlink(missing_ok=True)
