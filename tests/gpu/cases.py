"""Runs in this process: cases, how one is trained, and what is read of it afterwards. For the simulated device too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import NARROW
from trainer.data.format import read_record
from trainer.errors import TrainerError
from trainer.loop import train
from trainer.models.device import DATA_LIMIT
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter, walk
from trainer.spec.preset import build_spec

EAGER: dict[str, Any] = {"compile": "off", "checks": "off"}
CNN: dict[str, Any] = {**NARROW, **EAGER}
ONE_SIZE: dict[str, Any] = {"augment.resolutions": [], "augment.resolution_until": []}
MUON: dict[str, Any] = {"optimizer.name": "muon", "optimizer.lr": 0.1}

# What a step may do between a batch's rows and the update of the weights, each in one case at least.
DATA_PATHS: dict[str, dict[str, Any]] = {
    "resident": {**CNN, "augment.flip": True, "augment.crop": 4},
    "mixed": {**CNN, "augment.mixup": 0.2, "augment.cutmix": 1.0},
    "clipped": {**CNN, "optimizer.clip_norm": 1.0},
    "averaged": {**CNN, "optimizer.ema": 0.99},
    "fast": EAGER,
    "fp16": {**CNN, "precision": "fp16"},
    "fp16 and Muon": {**CNN, **MUON, "precision": "fp16"},
    "streamed": CNN,
    "TrivialAugment": {**CNN, "augment.trivial": True},
    "augmented": {
        **CNN,
        "augment.resized_crop": 0.3,
        "augment.flip": True,
        "augment.vertical_flip": True,
        "augment.rotation": 15,
        "augment.brightness": 0.4,
        "augment.contrast": 0.4,
        "augment.saturation": 0.4,
        "augment.hue": 0.1,
        "augment.blur": 0.5,
        "augment.randaugment": 2,
    },
}


@dataclass(frozen=True)
class Case:
    """A run of `preset`. It is stopped at the step `stop_at` and resumed, unless that is None."""

    name: str
    overrides: dict[str, Any] = field(default_factory=dict)
    preset: str = "baseline-cnn"
    dataset: str = "shapes100"
    device: str = "cuda:0"
    streamed: bool = False
    stop_at: int | None = None


def data_paths(**overrides: Any) -> list[Case]:
    """Return a case for each data path."""
    presets = {"fast": "fast"}
    return [
        Case(name, {**own, **overrides}, presets.get(name, "baseline-cnn"), streamed=name == "streamed")
        for name, own in DATA_PATHS.items()
    ]


class Watcher:
    """Is called while a case is trained; does nothing."""

    def began(self, name: str) -> None:
        """An attempt begins."""

    def step(self, number: int) -> None:
        """The step after `number` steps of this attempt begins."""

    def metrics(self, step: int) -> None:
        """Values of `step` are recorded."""


class WatchedEvents(EventWriter):
    def __init__(self, run_dir: Path, attempt: int, watcher: Watcher) -> None:
        super().__init__(run_dir, attempt)
        self._watcher = watcher

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._watcher.metrics(step)
        super().metrics(step, values)


@dataclass
class Stop:
    """The loop's `should_stop`, which it calls once at the start of each step."""

    at: int | None
    watcher: Watcher
    steps: int = 0

    def __call__(self) -> bool:
        self.watcher.step(self.steps)
        self.steps += 1
        return self.at is not None and self.steps > self.at


def train_case(folder: Path, datasets: Path, case: Case, watcher: Watcher | None = None) -> str:
    """Return how the run ended, or the error that it raised."""
    try:
        return train_through(folder, datasets, case, watcher or Watcher())
    except (RuntimeError, TrainerError) as error:
        return f"{type(error).__name__}: {error}"


def train_through(folder: Path, datasets: Path, case: Case, watcher: Watcher) -> str:
    """Return how the run ended. Raises what `train` raises."""
    os.environ[DATA_LIMIT] = "1" if case.streamed else str(1 << 40)
    spec = build_spec(case.dataset, case.preset, case.overrides)
    create_run_dir(folder, spec, read_record(datasets, case.dataset), {})
    if case.stop_at is not None:
        assert attempt(folder, datasets, case, 1, case.stop_at, watcher) == "interrupted"
    return attempt(folder, datasets, case, 2, None, watcher)


def attempt(folder: Path, datasets: Path, case: Case, number: int, stop_at: int | None, watcher: Watcher) -> str:
    watcher.began(case.name)
    events = WatchedEvents(folder, number, watcher)
    try:
        return train(folder, datasets, case.device, number, events, Stop(stop_at, watcher)).reason
    finally:
        events.close()


def series(run_dir: Path, name: str) -> list[float]:
    """Return the values of a series in the order in which they were written, NaN among them as a float."""
    events = (event for _, event in walk(run_dir) if event["e"] == "metrics")
    return [float(event["v"][name]) for event in events if name in event["v"]]
