"""A run on two GPUs, through NCCL. Skipped where there are fewer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.gpu.setup import is_dry_run
from trainer.data.format import read_record
from trainer.rundir.checkpoints import last_checkpoint
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import read_from
from trainer.rundir.folder import RunDir
from trainer.spec.preset import build_spec

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]

SHORT: dict[str, Any] = {
    "model.name": "tests.trainer.engine.networks_of_ranks:without_norm", "model.widths": [], "precision": "float32",
    "compile": "off", "checks": "off", "epochs": 1, "max_steps": 8, "augment.mixup": 0.3, "optimizer.ema": 0.9,
}  # fmt: skip


def train(folder: Path, datasets: Path, devices: str) -> dict[str, Tensor]:
    """Train a run in processes of its own, and return its last weights."""
    create_run_dir(folder, build_spec("shapes100", "baseline-cnn", SHORT), read_record(datasets, "shapes100"), {})
    command = [sys.executable, "-m", "trainer", str(folder / "spec.json"), "--datasets", str(datasets)]
    subprocess.run([*command, "--device", devices], check=True, timeout=200)
    assert read_from(RunDir(folder).events(1), 0)[0][-1]["reason"] == "finished"
    info = last_checkpoint(folder)
    assert info is not None
    return safetensors.torch.load_file(RunDir(folder).weights(info.step))


def test_two_gpus_train_what_one_does(gpu: torch.device, tmp_path: Path, shapes: Path) -> None:
    if is_dry_run() or torch.cuda.device_count() < 2:
        pytest.skip("there is only one GPU")
    one, two = (train(tmp_path / devices, shapes, devices) for devices in ("cuda:0", "cuda:0,cuda:1"))
    assert "rng.1" in two
    for name, value in one.items():
        if name.startswith(("model.", "raw.")):
            torch.testing.assert_close(two[name], value, rtol=0, atol=1e-3, msg=name)  # TF32 is on
