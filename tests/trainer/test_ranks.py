"""Several processes that train one run: gloo on the CPU, forked by a real fork server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.conftest import FIXED, NARROW, wait_for
from trainer.data.format import read_record
from trainer.process.assignment import Assignment
from trainer.process.forkclient import ForkServer
from trainer.rundir.checkpoints import last_checkpoint
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter, read_from
from trainer.rundir.folder import RunDir
from trainer.spec.preset import build_spec

NETWORKS = "tests.trainer.engine.networks_of_ranks"
SHORT: dict[str, Any] = {
    **NARROW, **FIXED, "max_steps": 6, "epochs": 1, "model.widths": [], "model.name": f"{NETWORKS}:without_norm",
}  # fmt: skip
Train = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    started = ForkServer()
    yield started
    started.close()


@pytest.fixture
def start(server: ForkServer, shapes: Path, tmp_path: Path) -> Callable[..., int]:
    """Start a run's trainer on `ranks` devices, and return its pid."""

    def begin(
        name: str, overrides: dict[str, Any], ranks: int = 1, attempt: int = 1, preset: str = "baseline-cnn"
    ) -> int:
        folder = tmp_path / name
        if not folder.exists():
            spec = build_spec("shapes100", preset, {**SHORT, **overrides})
            create_run_dir(folder, spec, read_record(shapes, "shapes100"), {})
        EventWriter(folder, attempt).close()
        others = tuple("cpu" for _ in range(ranks - 1))
        return server.start(Assignment(str(folder), str(shapes), "cpu", attempt, others=others))

    return begin


@pytest.fixture
def train(start: Callable[..., int], tmp_path: Path) -> Train:
    """Train a run to its end, and return its `end` event."""

    def to_end(name: str, *arguments: Any, attempt: int = 1, **options: Any) -> dict[str, Any]:
        start(name, *arguments, attempt=attempt, **options)
        found = wait_for(lambda: [event for event in events_of(tmp_path / name, attempt) if event["e"] == "end"], 90)
        return found[0]

    return to_end


def events_of(folder: Path, attempt: int = 1) -> list[dict[str, Any]]:
    return read_from(RunDir(folder).events(attempt), 0)[0]


def tensors_of(folder: Path) -> dict[str, Tensor]:
    info = last_checkpoint(folder)
    assert info is not None
    return safetensors.torch.load_file(RunDir(folder).weights(info.step))


def series_of(folder: Path, name: str) -> dict[int, float]:
    return {
        event["step"]: event["v"][name] for event in events_of(folder) if event["e"] == "metrics" and name in event["v"]
    }


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize(
    "overrides",
    [
        {"optimizer.name": "sgd", "optimizer.lr": 0.05, "optimizer.momentum": 0.9, "optimizer.clip_norm": 1.0},
        {"augment.mixup": 0.4, "augment.cutmix": 1.0, "augment.flip": True, "augment.crop": 4},
        {"class_weights": "balanced", "label_smoothing": 0.1, "optimizer.ema": 0.9, "gradient_accumulation": 3},
    ],
)
def test_ranks_train_what_one_process_trains(
    train: Train, tmp_path: Path, ranks: int, overrides: dict[str, Any]
) -> None:
    ended = [train("one", overrides), train("several", overrides, ranks=ranks)]
    assert [end["reason"] for end in ended] == ["finished"] * 2, ended
    for name in ("train/loss", "train/acc", "val/loss", "val/acc"):
        one, several = series_of(tmp_path / "one", name), series_of(tmp_path / "several", name)
        assert one.keys() == several.keys()
        assert list(several.values()) == pytest.approx(list(one.values()), abs=2e-6), name
    assert ended[1]["summary"] == pytest.approx(ended[0]["summary"], abs=2e-5)
    one, several = tensors_of(tmp_path / "one"), tensors_of(tmp_path / "several")
    assert several.keys() - one.keys() == {f"rng.{rank}" for rank in range(1, ranks)}
    for name, value in one.items():
        if name.startswith(("model.", "raw.")):
            torch.testing.assert_close(several[name], value, rtol=0, atol=1e-6, msg=name)
