"""A run whose compiled pass does not work goes on without it, as if it had never been compiled."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from trainer.data.format import read_record
from trainer.loop import Outcome, train
from trainer.models import checkpoint
from trainer.models.device import can_compile
from trainer.plan.decisions import Decisions
from trainer.plan.steering import COMPILE_AT
from trainer.rundir.checkpoints import last_checkpoint, list_checkpoints, remove_checkpoints
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter, read_from
from trainer.spec.preset import build_spec

pytestmark = pytest.mark.skipif(
    not can_compile(torch.device("cpu")), reason="torch.compile needs a C++ compiler and Python's headers"
)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch._dynamo.reset()


def new_run(folder: Path, datasets: Path, network: str, choice: str = "on") -> None:
    overrides: dict[str, Any] = {
        "model.name": f"tests.trainer.engine.odd_networks:{network}", "model.widths": [], "model.dropout": 0,
        "compile": choice, "checks": "off", "max_steps": 70, "epochs": 2, "precision": "float32",
    }  # fmt: skip
    create_run_dir(folder, build_spec("shapes100", "baseline-cnn", overrides), read_record(datasets, "shapes100"), {})


def run(folder: Path, datasets: Path, attempt: int = 1, should_stop: Callable[[], bool] = lambda: False) -> Outcome:
    events = EventWriter(folder, attempt)
    outcome = train(folder, datasets, "cpu", attempt, events, should_stop)
    events.close()
    return outcome


def events_of(folder: Path, attempt: int = 1) -> list[dict[str, Any]]:
    return read_from(folder / "events" / f"{attempt}.jsonl", 0, 1 << 26)[0]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    info = last_checkpoint(folder)
    assert info is not None
    assert info.step == 70
    return checkpoint.load(folder, info).part("model")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("nan", "the loss is not finite"),
        ("forward", "the forward pass does not compile"),
        ("backward", "the backward pass does not compile"),
    ],
)
def test_a_compiled_pass_that_does_not_work_is_given_up(
    tmp_path: Path, shapes: Path, network: str, reason: str
) -> None:
    new_run(tmp_path / "eager", shapes, network, "off")
    run(tmp_path / "eager", shapes)
    new_run(tmp_path / "r", shapes, network)
    assert run(tmp_path / "r", shapes).reason == "finished"
    assert equal(weights(tmp_path / "r"), weights(tmp_path / "eager"))
    events = events_of(tmp_path / "r")
    assert [event["from_step"] for event in events if event["e"] == "start"] == [0, COMPILE_AT]
    assert any(reason in event["line"] for event in events if event["e"] == "log")
    taken = [(taken.step, taken.kind, taken.values) for taken in Decisions(tmp_path / "r").due(70)]
    assert taken == [(COMPILE_AT, "compile", {"on": True}), (COMPILE_AT, "compile", {"on": False})]

    again = tmp_path / "again"  # as if the machine had crashed with no checkpoint later than the compilation
    shutil.copytree(tmp_path / "r", again)
    remove_checkpoints(again, [info.step for info in list_checkpoints(again) if info.step > COMPILE_AT])
    assert run(again, shapes, attempt=2).reason == "finished"
    assert "compile" not in [event.get("phase") for event in events_of(again, 2)]
    assert equal(weights(again), weights(tmp_path / "r"))


def test_a_loss_that_was_never_finite_in_the_compiled_pass_is_not_recorded_as_a_step(
    tmp_path: Path, shapes: Path
) -> None:
    new_run(tmp_path / "r", shapes, "nan")
    run(tmp_path / "r", shapes)
    after = [event for event in events_of(tmp_path / "r") if event["e"] in ("start", "metrics")]
    restart = max(index for index, event in enumerate(after) if event["e"] == "start")
    losses = [event["v"]["train/loss"] for event in after[restart:] if "train/loss" in event.get("v", {})]
    assert losses
    assert all(isinstance(loss, float) and math.isfinite(loss) for loss in losses)


def test_a_stop_is_heard_while_the_network_is_compiled(tmp_path: Path, shapes: Path) -> None:
    asked: list[int] = []

    def handler(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    new_run(tmp_path / "r", shapes, "ended")
    before = signal.signal(signal.SIGTERM, handler)
    try:
        outcome = run(tmp_path / "r", shapes, should_stop=lambda: bool(asked))
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    saved = last_checkpoint(tmp_path / "r")
    assert saved is not None
    assert (outcome.reason, outcome.step, saved.step) == ("interrupted", COMPILE_AT, COMPILE_AT)
