from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.conftest import NARROW
from trainer.data.format import open_split, read_record
from trainer.data.splits import stratified_split
from trainer.loop import Outcome, train
from trainer.points import TrainingDiverged
from trainer.process.assignment import Assignment
from trainer.process.trainer import run_trainer
from trainer.rundir.checkpoints import best_checkpoint, list_checkpoints
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter, read_from
from trainer.rundir.folder import RunDir
from trainer.rundir.journal import journal
from trainer.spec.preset import build_spec

SERIES = {"train/loss", "train/acc", "val/loss", "val/acc", "val/acc5", "val/coarse_acc", "lr", "throughput"}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def new_run(folder: Path, datasets: Path, overrides: dict[str, Any], preset: str = "baseline-cnn") -> None:
    create_run_dir(folder, build_spec("shapes100", preset, overrides), read_record(datasets, "shapes100"), {})


def run(folder: Path, datasets: Path, attempt: int = 1) -> Outcome:
    events = EventWriter(folder, attempt)
    outcome = train(folder, datasets, "cpu", attempt, events, lambda: False)
    events.close()
    return outcome


def events_of(folder: Path, attempt: int = 1) -> list[dict[str, Any]]:
    return read_from(folder / "events" / f"{attempt}.jsonl", 0, 1 << 26)[0]


def test_a_run_tells_all_that_is_promised(tmp_path: Path, shapes: Path) -> None:
    new_run(tmp_path / "r", shapes, {"epochs": 2, "augment.flip": True})
    outcome = run(tmp_path / "r", shapes)
    events = events_of(tmp_path / "r")
    assert events[0]["e"] == "start"
    assert events[0]["from_step"] == 0
    names = {name for event in events if event["e"] == "metrics" for name in event["v"]}
    assert SERIES | {"train_clean/loss", "train_clean/acc"} <= names
    assert outcome.reason == "finished"
    assert {"test/loss", "test/acc", "test/acc5", "test/coarse_acc", "last/test/acc", "init/test_loss"} <= set(
        outcome.summary
    )
    assert outcome.summary["init/test_loss"] == pytest.approx(math.log(100), rel=0.1)
    assert [event["step"] for event in events if event["e"] == "epoch"] == [56, 112]
    assert len(list_checkpoints(tmp_path / "r")) >= 2


def test_one_batch_is_overfitted(tmp_path: Path, shapes: Path) -> None:
    overrides = {"epochs": 150, "optimizer.lr": 1e-3, "batch_size": 32}
    new_run(tmp_path / "r", shapes, overrides, preset="baseline-mlp")
    run(tmp_path / "r", shapes)
    last = [event["v"] for event in events_of(tmp_path / "r") if "train/loss" in event.get("v", {})][-1]
    assert last["train/loss"] < 1e-2
    assert last["train/acc"] == 1


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_both_losses_train(tmp_path: Path, shapes: Path, loss: str) -> None:
    new_run(tmp_path / "r", shapes, {"max_steps": 40, "loss": loss, "log_every": 10})
    run(tmp_path / "r", shapes)
    losses = [event["v"]["train/loss"] for event in events_of(tmp_path / "r") if "train/loss" in event.get("v", {})]
    assert losses[-1] < losses[0]


def test_coarse_targets_have_twenty_classes(tmp_path: Path, shapes: Path) -> None:
    new_run(tmp_path / "r", shapes, {"max_steps": 3, "target": "coarse"})
    outcome = run(tmp_path / "r", shapes)
    assert outcome.summary["init/test_loss"] == pytest.approx(math.log(20), rel=0.1)
    assert "test/coarse_acc" not in outcome.summary


def test_nan_ends_the_run_with_its_step_and_never_becomes_best(tmp_path: Path, shapes: Path) -> None:
    new_run(tmp_path / "r", shapes, {"epochs": 3, "optimizer.name": "sgd", "optimizer.lr": 10, "log_every": 1})
    events = EventWriter(tmp_path / "r", 1)
    with pytest.raises(TrainingDiverged) as caught:
        train(tmp_path / "r", shapes, "cpu", 1, events, lambda: False)
    last = [event for event in events_of(tmp_path / "r") if event["e"] == "metrics"][-1]
    assert last["step"] == caught.value.step
    assert last["v"]["train/loss"] in ("NaN", "Infinity")
    best = best_checkpoint(tmp_path / "r")
    assert best is None or math.isfinite(best.metrics["val/loss"])


def test_a_process_says_how_it_failed(tmp_path: Path, shapes: Path) -> None:
    new_run(tmp_path / "r", shapes, {"epochs": 1})
    spec = orjson.loads((tmp_path / "r" / "spec.json").read_bytes())
    spec["dataset"]["sha256"] = {"train.images.npy": "0" * 64}
    (tmp_path / "r" / "spec.json").write_bytes(orjson.dumps(spec))
    status = run_trainer(Assignment(str(tmp_path / "r"), str(shapes), "cpu", 1))
    end = events_of(tmp_path / "r")[-1]
    assert status == 1
    assert end["reason"] == "failed"
    assert "replaced" in end["error"]["message"]


def test_an_extended_run_goes_on_to_its_new_end(tmp_path: Path, shapes: Path) -> None:
    new_run(tmp_path / "r", shapes, {"epochs": 1})
    assert run(tmp_path / "r", shapes).step == 56
    journal(tmp_path / "r", "resume", extend_epochs=1)
    assert run(tmp_path / "r", shapes, attempt=2).step == 112
    assert events_of(tmp_path / "r", 2)[0]["from_step"] == 56


def test_a_run_whose_last_answers_a_power_cut_emptied_is_resumed(tmp_path: Path, shapes: Path) -> None:
    folder, stops = tmp_path / "r", iter([False] * 60 + [True])
    new_run(folder, shapes, {**NARROW, "epochs": 3})
    events = EventWriter(folder, 1)
    assert train(folder, shapes, "cpu", 1, events, lambda: next(stops)).reason == "interrupted"
    events.close()
    RunDir(folder).answers(56).write_bytes(b"")
    assert run(folder, shapes, attempt=2).reason == "finished"
    evaluated = {event["step"]: event["v"] for event in events_of(folder, 2) if "val/acc" in event.get("v", {})}
    # The number of predictions that changed since the previous evaluation does not exist at the first one.
    assert {step: "val/flips" in values for step, values in evaluated.items()} == {112: False, 168: True}


def test_the_validation_split_is_stratified_seeded_and_apart(shapes: Path) -> None:
    labels = open_split(shapes, "shapes100", "train")[1]
    train_rows, val_rows = stratified_split(labels, 0.1, seed=5)
    assert not set(train_rows) & set(val_rows)
    assert len(train_rows) + len(val_rows) == len(labels)
    assert set(np.bincount(labels[val_rows])) == {4}
    assert np.array_equal(val_rows, stratified_split(labels, 0.1, seed=5)[1])
    assert not np.array_equal(val_rows, stratified_split(labels, 0.1, seed=6)[1])
