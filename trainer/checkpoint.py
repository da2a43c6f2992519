"""Checkpoints: safetensors (never a pickle), written atomically, vouched for by a sidecar with their hash.

checkpoints/<step>.safetensors   "model.*", "optim.*", "rng.*" tensors; the loop's state as JSON in the header
checkpoints/<step>.json          CheckpointInfo, written last: without it the checkpoint does not exist
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from trainer.errors import TrainerError
from trainer.system.durable import write_durably

KEPT = 2


class CheckpointInfo(BaseModel):
    model_config = ConfigDict(frozen=True)

    step: int
    epoch: int
    sha256: str
    size: int
    metrics: dict[str, float]
    best: bool


@dataclass(frozen=True)
class Loaded:
    info: CheckpointInfo
    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under "<prefix>.", without it."""
        return {k.removeprefix(f"{prefix}."): v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}


class CheckpointDamaged(TrainerError):
    """The file is not the one that its sidecar vouches for."""


def save(
    run_dir: Path,
    tensors: dict[str, Tensor],
    state: dict[str, Any],
    *,
    step: int,
    epoch: int,
    metrics: dict[str, float],
    best: bool,
) -> CheckpointInfo:
    """Write a checkpoint that is whole or absent, whenever the process is killed. Raises OSError (a full disk)."""
    folder = run_dir / "checkpoints"
    folder.mkdir(exist_ok=True)
    data = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={"trackside": json.dumps(state)},
    )
    info = CheckpointInfo(
        step=step,
        epoch=epoch,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        metrics=metrics,
        best=best,
    )
    write_durably(weights_path(run_dir, step), data)
    write_durably(sidecar_path(run_dir, step), info.model_dump_json().encode())
    return info


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


def load(run_dir: Path, info: CheckpointInfo) -> Loaded:
    """Read a checkpoint, its hash compared first. Raises CheckpointDamaged."""
    path = weights_path(run_dir, info.step)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointDamaged(f"{path.name} is missing") from None
    if hashlib.sha256(data).hexdigest() != info.sha256:
        raise CheckpointDamaged(f"{path.name} does not have the hash that was recorded for it")
    length = int.from_bytes(data[:8], "little")
    state = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["trackside"])
    return Loaded(info, safetensors.torch.load(data), state)


def load_last_good(run_dir: Path) -> tuple[Loaded | None, list[str]]:
    """The newest checkpoint that loads, and what was wrong with newer ones, which are taken away."""
    faults: list[str] = []
    for info in reversed(list_checkpoints(run_dir)):
        try:
            return load(run_dir, info), faults
        except (CheckpointDamaged, safetensors.SafetensorError, ValueError, KeyError) as error:
            faults.append(f"The checkpoint of step {info.step} is damaged ({error}): the one before it is used.")
            remove(run_dir, [info.step])
    return None, faults


def superseded(run_dir: Path) -> list[int]:
    """Steps of checkpoints that are neither the best nor among the last ones."""
    found = list_checkpoints(run_dir)
    best = best_checkpoint(run_dir)
    keep = {info.step for info in found[-KEPT:]} | ({best.step} if best else set())
    return [info.step for info in found if info.step not in keep]


def remove(run_dir: Path, steps: list[int]) -> None:
    """Take away checkpoints, the sidecar first: what is listed always loads."""
    for step in steps:
        sidecar_path(run_dir, step).unlink(missing_ok=True)
    for step in steps:
        weights_path(run_dir, step).unlink(missing_ok=True)
