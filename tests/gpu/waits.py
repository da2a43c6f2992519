"""No step waits for the device between logged steps: PyTorch is told to raise an error where it would."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch

from tests.gpu.cases import EAGER, Case, Watcher, data_paths, train_case
from tests.gpu.setup import Setup
from tests.gpu.verdict import Tell, Verdict, check
from trainer.models.build import build_model
from trainer.spec.model_spec import ModelSpec

EIGHT = range(24, 32)  # steps after the first ones, all of which are logged, and before the last one, which is too
COMPILED_EIGHT = range(80, 88)  # after the step at which a run is compiled
LAST = 8  # steps after the watched ones


class Forbidding(Watcher):
    """Makes an operation that waits for the device raise an error in `steps`."""

    def __init__(self, steps: range) -> None:
        self._steps = steps
        self.watched = 0

    def step(self, number: int) -> None:
        watched = number in self._steps
        self.watched += watched
        torch.cuda.set_sync_debug_mode("error" if watched else "default")


def waits(setup: Setup, tell: Tell) -> None:
    tell(a_wait_is_noticed(setup))
    with setup.scratch() as folder:
        unlogged = {"log_every": 1000, "batch_size": 30}  # 120 steps per epoch: none ends within the watched ones
        for case in [*data_paths(**unlogged), cached_features(folder)]:
            tell_of(setup, tell, folder, case, EIGHT)
        compiled = {"model.name": "mlp", **unlogged, "compile": "on", "checks": "off"}
        tell_of(setup, tell, folder, Case("compiled", compiled), COMPILED_EIGHT)


def tell_of(setup: Setup, tell: Tell, folder: Path, case: Case, steps: range) -> None:
    watcher = Forbidding(steps)
    run = Case(
        case.name,
        {**case.overrides, "max_steps": steps.stop + LAST},
        case.preset,
        case.dataset,
        setup.device,
        case.streamed,
    )
    try:
        ended = train_case(folder / case.name, setup.datasets, run, watcher)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    passed = ended == "finished" and watcher.watched == len(steps)
    tell(check(f"eight steps without a wait: {case.name}", passed, f"{ended.splitlines()[0][:300]}", "finished"))


def a_wait_is_noticed(setup: Setup) -> Verdict:
    value = torch.ones(1, device=setup.device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        value.item()
    except RuntimeError as error:
        return check("a wait is noticed", True, str(error).splitlines()[0])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return check("a wait is noticed", False, "reading a value raised no error")


def cached_features(folder: Path) -> Case:
    """A head on the features of a frozen network, with random weights."""
    path = folder / "resnet18.safetensors"
    model = build_model(ModelSpec(name="torchvision:resnet18"), 1000, 32)
    safetensors.torch.save_file(model.state_dict(), path)
    overrides = {**EAGER, "model.name": "torchvision:resnet18", "model.weights": str(path), "model.input_size": 40}
    return Case("cached features", {**overrides, "batch_size": 30, "log_every": 1000}, "transfer")
