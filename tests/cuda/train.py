"""`python -m tests.cuda.train FOLDER DATASETS CASES`: train runs in this process, one after the other.

CASES is a JSON list of Case. The log gets the marks "run NAME" before each attempt, "step" at the start of each step,
and "metrics" when values are recorded. Prints as JSON how each run ended, by name.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from trainer.data.format import read_record
from trainer.loop import train
from trainer.models.device import DATA_LIMIT
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter
from trainer.spec.preset import build_spec


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


class MarkedEvents(EventWriter):
    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        mark("metrics")
        super().metrics(step, values)


@dataclass
class Stop:
    """The loop's `should_stop`, which it calls once at the start of each step."""

    at: int | None
    step: int = 0

    def __call__(self) -> bool:
        mark("step")
        self.step += 1
        return self.at is not None and self.step > self.at


def mark(text: str) -> None:
    ctypes.CDLL(os.environ["LD_PRELOAD"]).fake_cuda_mark(text.encode())


def train_case(folder: Path, datasets: Path, case: Case) -> str:
    """Return how the run ended, or the error that it raised."""
    os.environ[DATA_LIMIT] = "1" if case.streamed else str(1 << 40)
    spec = build_spec(case.dataset, case.preset, case.overrides)
    create_run_dir(folder, spec, read_record(datasets, case.dataset), {})
    try:
        if case.stop_at is not None:
            assert attempt(folder, datasets, case, 1, Stop(case.stop_at)) == "interrupted"
        return attempt(folder, datasets, case, 2, Stop(None))
    except RuntimeError as error:
        return f"{type(error).__name__}: {error}"


def attempt(folder: Path, datasets: Path, case: Case, number: int, stop: Stop) -> str:
    mark(f"run {case.name}")
    events = MarkedEvents(folder, number)
    try:
        return train(folder, datasets, case.device, number, events, stop).reason
    finally:
        events.close()


if __name__ == "__main__":
    runs, given = Path(sys.argv[1]), Path(sys.argv[2])
    cases = [Case(**entry) for entry in orjson.loads(sys.argv[3])]
    sys.stdout.buffer.write(orjson.dumps({case.name: train_case(runs / case.name, given, case) for case in cases}))
