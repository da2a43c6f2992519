"""Promise 7: on the CPU, a stopped and resumed run has bitwise the same weights as an uninterrupted run."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
import torch

from tests.conftest import NARROW
from trainer.data.format import read_record
from trainer.loop import train
from trainer.models import checkpoint
from trainer.plan.decisions import Decisions
from trainer.plan.steering import COMPILE_AT, TRIAL_BLOCK, Trial
from trainer.rundir.checkpoints import last_checkpoint
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter
from trainer.rundir.folder import RunDir
from trainer.rundir.journal import journal
from trainer.spec.preset import build_spec

STEPS_PER_EPOCH = 28
OVERRIDES = {
    "checks": "off",  # they do not change a run: see tests/trainer/diagnosis/test_findings.py
    "epochs": 2,
    "augment.flip": True,
    "augment.crop": 4,
    "model.dropout": 0.3,
    "label_smoothing": 0.1,
    "schedule.name": "cosine",
    "schedule.warmup_epochs": 1,
}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def stop_at(steps: list[int]) -> Callable[[], bool]:
    """Return a `should_stop` that is true once after each of `steps`. It counts its calls: one per step."""
    left = iter([*steps, 10**9])
    calls, target = -1, next(left)

    def should_stop() -> bool:
        nonlocal calls, target
        calls += 1
        if calls == target:
            target = next(left)
            calls -= 1  # after the resume, it is called again for the same step
            return True
        return False

    return should_stop


def weights_hash(run_dir: Path) -> str:
    info = last_checkpoint(run_dir)
    assert info is not None
    loaded = checkpoint.load(run_dir, info)
    digest = hashlib.sha256()
    for name, tensor in sorted(loaded.tensors.items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def run_through(folder: Path, datasets: Path, overrides: dict[str, object], stops: list[int]) -> str:
    spec = build_spec("shapes100", "baseline-cnn", {**OVERRIDES, **overrides})
    create_run_dir(folder, spec, read_record(datasets, "shapes100"), {})
    should_stop = stop_at(stops)
    for attempt in range(1, len(stops) + 2):
        torch.manual_seed(attempt * 7919)  # the global RNG state of the process must have no effect
        events = EventWriter(folder, attempt)
        outcome = train(folder, datasets, "cpu", attempt, events, should_stop)
        events.close()
    assert outcome.reason == "finished"
    return weights_hash(folder)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_promise_07_weights_are_equal_bit_for_bit(tmp_path: Path, few_shapes: Path, optimizer: str) -> None:
    overrides: dict[str, object] = {
        **NARROW, "optimizer.name": optimizer, "optimizer.lr": 1e-3, "precision": "float32"
    }  # fmt: skip
    whole = run_through(tmp_path / "whole", few_shapes, overrides, [])
    mid_epoch_and_end = [1, 12, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 15]
    assert run_through(tmp_path / "stopped", few_shapes, overrides, mid_epoch_and_end) == whole


SWIFT = {"model.name": "swift", "model.widths": [8, 16, 16], "model.dropout": 0.1, "optimizer.lr": 0.02}
VARIANTS: dict[str, dict[str, object]] = {
    "adamw, clipped, one-cycle": {
        "optimizer.name": "adamw", "optimizer.clip_norm": 0.5, "optimizer.decay_norms": False,
        "schedule.name": "one_cycle",
    },
    "nesterov, linear, mixup": {
        "optimizer.name": "sgd", "optimizer.nesterov": True, "schedule.name": "linear", "augment.mixup": 0.2,
        "augment.padding": "zero",
    },
    "muon and sgd, averaged, multi-step, resized crops and what follows them": {
        "optimizer.name": "muon", "optimizer.ema": 0.99, "schedule.name": "multi_step", "class_weights": "balanced",
        "augment.crop": 0, "augment.resized_crop": 0.3, "augment.vertical_flip": True, "augment.rotation": 20,
        "augment.brightness": 0.4, "augment.contrast": 0.4, "augment.saturation": 0.4, "augment.hue": 0.1,
        "augment.blur": 0.5, "augment.randaugment": 2,
    },
    "muon and adamw, trapezoid, cutmix, cutout": {
        "optimizer.name": "muon", "optimizer.rest": "adamw", "optimizer.rest_lr": 1e-3, "schedule.name": "trapezoid",
        "augment.cutmix": 1.0, "augment.cutout": 8,
    },
    "progressive, trivial, alternating": {
        "augment.resolutions": [20, 24], "augment.resolution_until": [0.3, 0.6], "augment.trivial": True,
        "augment.alternating": True, "schedule.name": "constant", "val_fraction": 0.0,
    },
    "balanced sampling": {"sampling": "balanced", "augment.cutout": 8},
    # Emulated where the processor has no instructions for it: a step of this takes as long as ten others.
    "bfloat16": {"precision": "bf16", "max_steps": 12, "model.widths": [6, 8, 8], "val_fraction": 0.0},
}  # fmt: skip


LONG = ("adamw, clipped, one-cycle", "nesterov, linear, mixup", "muon and adamw, trapezoid, cutmix, cutout")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in VARIANTS]
)
def test_promise_07_every_part_of_a_recipe_resumes_exactly(tmp_path: Path, few_shapes: Path, variant: str) -> None:
    overrides: dict[str, object] = {**SWIFT, "precision": "float32", "epochs": 2, "max_steps": 34, **VARIANTS[variant]}
    whole = run_through(tmp_path / "whole", few_shapes, overrides, [])
    stops = [7] if variant == "bfloat16" else [7, STEPS_PER_EPOCH, 31]
    assert run_through(tmp_path / "stopped", few_shapes, overrides, stops) == whole


def train_attempt(folder: Path, datasets: Path, attempt: int, should_stop: Callable[[], bool]) -> None:
    events = EventWriter(folder, attempt)
    train(folder, datasets, "cpu", attempt, events, should_stop)
    events.close()


@pytest.mark.long
def test_promise_07_a_budget_of_minutes_is_replayed_as_it_was_measured(
    tmp_path: Path, few_shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(1)
    readings = itertools.accumulate(random.uniform(0.01, 0.05) for _ in itertools.count())
    # No step takes the same time twice, and how busy this machine is does not matter.
    for module in ("trainer.loop", "trainer.engine.moments"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: next(readings)))
    overrides = {**SWIFT, "optimizer.name": "muon", "budget.minutes": 0.15, "precision": "float32", "checks": "off"}
    first, second = tmp_path / "first", tmp_path / "second"
    create_run_dir(first, build_spec("shapes100", "quick", overrides), read_record(few_shapes, "shapes100"), {})
    train_attempt(first, few_shapes, 1, stop_at([30]))
    shutil.copytree(first, second)
    train_attempt(first, few_shapes, 2, lambda: False)
    taken = RunDir(first).decisions.read_bytes()
    assert len(taken.splitlines()) > len(RunDir(second).decisions.read_bytes().splitlines()) >= 1
    RunDir(second).decisions.write_bytes(taken)  # as if the machine had crashed with the last checkpoint at step 30
    train_attempt(second, few_shapes, 2, stop_at([50]))
    train_attempt(second, few_shapes, 3, lambda: False)
    assert weights_hash(second) == weights_hash(first)
    assert RunDir(second).decisions.read_bytes() == taken


@pytest.mark.long
@pytest.mark.timeout(180)
def test_promise_07_a_trial_of_compiling_is_replayed(
    tmp_path: Path, few_shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.plan.steering.WORTH_COMPILING_SECONDS", 0.0)
    overrides = {**OVERRIDES, **NARROW, "batch_size": 8, "epochs": 1, "compile": "auto", "precision": "float32"}
    spec = build_spec("shapes100", "baseline-cnn", overrides)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        create_run_dir(folder, spec, read_record(few_shapes, "shapes100"), {})
    train_attempt(first, few_shapes, 1, lambda: False)
    decisions = Decisions(first).due(10**9)
    trial = Trial(COMPILE_AT, TRIAL_BLOCK)
    assert [(taken.step, taken.kind) for taken in decisions if taken.kind == "compile"] == [
        (COMPILE_AT, "compile"),
        (trial.end, "compile"),
    ]
    assert set(decisions[-1].values["milliseconds"]) == {"compiled", "eager"}
    RunDir(second).decisions.write_bytes(RunDir(first).decisions.read_bytes())
    should_stop = stop_at([COMPILE_AT + 3, COMPILE_AT + 12, trial.end + 2])
    for attempt in range(1, 5):
        train_attempt(second, few_shapes, attempt, should_stop)
    assert weights_hash(second) == weights_hash(first)


def test_promise_07_winding_down_and_extending_are_taken_again_at_their_steps(tmp_path: Path, few_shapes: Path) -> None:
    spec = build_spec("shapes100", "baseline-cnn", {**OVERRIDES, **SWIFT, "precision": "float32", "epochs": 9})
    hashes = []
    for name, stops in (("whole", [20]), ("stopped", [20, 30, 50])):
        folder = tmp_path / name
        create_run_dir(folder, spec, read_record(few_shapes, "shapes100"), {})
        should_stop = stop_at(stops)
        train_attempt(folder, few_shapes, 1, should_stop)
        RunDir(folder).finish_early.touch()
        for attempt in range(2, len(stops) + 2):
            train_attempt(folder, few_shapes, attempt, should_stop)
        found = last_checkpoint(folder)
        assert found is not None
        assert found.step == 20 + STEPS_PER_EPOCH
        journal(folder, "resume", extend_epochs=1, extension={"schedule": {"name": "linear"}, "lr": 1e-4})
        train_attempt(folder, few_shapes, 9, lambda: False)
        assert read_decisions(folder) == [(20, "wind-down"), (20 + STEPS_PER_EPOCH, "extend")]
        hashes.append(weights_hash(folder))
    assert hashes[0] == hashes[1]


def read_decisions(folder: Path) -> list[tuple[int, str]]:
    return [(decision.step, decision.kind) for decision in Decisions(folder).due(10**9)]
