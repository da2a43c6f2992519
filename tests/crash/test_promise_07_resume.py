"""Promise 7: on the CPU, stopped-and-resumed equals uninterrupted, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainer import checkpoint
from trainer.data.format import read_record
from trainer.events import EventWriter
from trainer.loop import train
from trainer.preset import build_spec
from trainer.rundir import create_run_dir

STEPS_PER_EPOCH = 56
OVERRIDES = {
    "epochs": 3,
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
    """Told to stop before the step after each of `steps`; it counts the calls, one a step."""
    left = iter([*steps, 10**9])
    calls, target = -1, next(left)

    def should_stop() -> bool:
        nonlocal calls, target
        calls += 1
        if calls == target:
            target = next(left)
            calls -= 1  # the step is asked for again after the resume
            return True
        return False

    return should_stop


def weights_hash(run_dir: Path) -> str:
    info = checkpoint.last_checkpoint(run_dir)
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
        torch.manual_seed(attempt * 7919)  # whatever the process did before must not matter
        events = EventWriter(folder, attempt)
        outcome = train(folder, datasets, "cpu", attempt, events, should_stop)
        events.close()
    assert outcome.reason == "finished"
    return weights_hash(folder)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_weights_are_equal_bit_for_bit(tmp_path: Path, shapes: Path, optimizer: str) -> None:
    overrides: dict[str, object] = {"optimizer.name": optimizer, "optimizer.lr": 1e-3}
    whole = run_through(tmp_path / "whole", shapes, overrides, [])
    mid_epoch_and_end = [1, 20, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 31, 2 * STEPS_PER_EPOCH]
    assert run_through(tmp_path / "stopped", shapes, overrides, mid_epoch_and_end) == whole
