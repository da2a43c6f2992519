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
        """The tensors under "<prefix>.", without it."""
        return {k.removeprefix(f"{prefix}."): v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}


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
    """Read a checkpoint, its hash compared first. Raises CheckpointDamaged."""
    path = RunDir(run_dir).weights(info.step)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != info.sha256:
            raise CheckpointDamaged(f"{path.name} does not have the hash that was recorded for it")
        # Hashing has left the file in the page cache. "pread" copies the tensors out of it: with "mmap", a checkpoint
        # that is deleted later would hold its room on the disk for as long as one of its tensors lives.
        with safetensors.safe_open(path, framework="pt", backend="pread") as opened:
            return Loaded(info, opened.get_tensors(), json.loads((opened.metadata() or {})["trackside"]))
    except FileNotFoundError:
        raise CheckpointDamaged(f"{path.name} is missing") from None
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointDamaged(f"{path.name} cannot be read: {error}") from error


def load_last_good(run_dir: Path) -> tuple[Loaded | None, list[str]]:
    """The newest checkpoint that loads, and what was wrong with newer ones, which are taken away."""
    faults: list[str] = []
    for info in reversed(list_checkpoints(run_dir)):
        try:
            return load(run_dir, info), faults
        except CheckpointDamaged as error:
            faults.append(f"The checkpoint of step {info.step} is damaged ({error}): the one before it is used.")
            remove_checkpoints(run_dir, [info.step])
    return None, faults
