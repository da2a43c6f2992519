"""Checkpoints: safetensors files (never pickles), written atomically, with their hash in a sidecar.

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
from torch import Tensor

from trainer.rundir.checkpoints import (
    CheckpointDamaged,
    CheckpointInfo,
    list_checkpoints,
    remove_checkpoints,
)
from trainer.rundir.folder import RunDir
from trainer.system.durable import write_durably


@dataclass(frozen=True)
class Loaded:
    info: CheckpointInfo
    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with "<prefix>.", with this prefix removed."""
        return part_of(self.tensors, prefix)


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with "<prefix>.", with this prefix removed."""
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


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
    """Write a checkpoint atomically, even if the process is killed. Raises OSError (a full disk)."""
    RunDir(run_dir).checkpoints.mkdir(exist_ok=True)
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
    write_durably(RunDir(run_dir).weights(step), data)
    write_durably(RunDir(run_dir).sidecar(step), info.model_dump_json().encode())
    return info


def load(run_dir: Path, info: CheckpointInfo) -> Loaded:
    """Read a checkpoint, after comparing its hash. Raises CheckpointDamaged."""
    path = RunDir(run_dir).weights(info.step)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != info.sha256:
            raise CheckpointDamaged(f"{path.name} does not have the hash that was recorded for it")
        # After hashing, the file is in the page cache, from which "pread" copies the tensors. With "mmap", a checkpoint
        # that is deleted later would occupy disk space as long as one of its tensors exists.
        with safetensors.safe_open(path, framework="pt", backend="pread") as opened:
            return Loaded(info, opened.get_tensors(), json.loads((opened.metadata() or {})["trackside"]))
    except FileNotFoundError:
        raise CheckpointDamaged(f"{path.name} is missing") from None
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointDamaged(f"{path.name} cannot be read: {error}") from error


def load_last_good(run_dir: Path) -> tuple[Loaded | None, list[str]]:
    """Return the latest checkpoint that can be loaded, and the faults of later ones, which are deleted."""
    faults: list[str] = []
    for info in reversed(list_checkpoints(run_dir)):
        try:
            return load(run_dir, info), faults
        except CheckpointDamaged as error:
            faults.append(f"The checkpoint of step {info.step} is damaged ({error}): the one before it is used.")
            remove_checkpoints(run_dir, [info.step])
    return None, faults
