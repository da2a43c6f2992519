"""What the device is and what it does well."""

from __future__ import annotations

import os

import torch

from trainer.spec import TrainSpec


def prepare(name: str) -> torch.device:
    """Make `name` ("cpu", "cuda:0", "mps") ready in this process; OMP_NUM_THREADS, where set, is kept to."""
    device = torch.device(name)
    if device.type == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or core_count()))
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    return device


def core_count() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pick_precision(spec: TrainSpec, device: torch.device) -> torch.dtype:
    if spec.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if spec.precision == "bf16" else torch.float32
