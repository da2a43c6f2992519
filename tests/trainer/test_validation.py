"""What a run is validated on: its dataset's own split, a share drawn from the dataset, or an older run's share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.data.own_validation import make_own_validation, make_uneven
from trainer.data.format import DatasetRecord, read_labels
from trainer.data.splits import stratified_split
from trainer.loop import Outcome, train
from trainer.models.device import DATA_LIMIT
from trainer.plan.prepared import prepared
from trainer.rundir.answers import Answers, answered_steps, last_answers
from trainer.rundir.creation import create_run_dir
from trainer.rundir.events import EventWriter, read_from
from trainer.rundir.folder import RunDir
from trainer.spec.dataset_spec import DatasetSpec

NARROW = {"model.widths": [4, 4, 4], "batch_size": 8, "epochs": 2, "checks": "off", "compile": "off"}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def run(
    folder: Path, datasets: Path, attempt: int = 1, stop_at: int | None = None
) -> tuple[Outcome, list[dict[str, Any]]]:
    events, asked = EventWriter(folder, attempt), 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return stop_at is not None and asked > stop_at

    outcome = train(folder, datasets, "cpu", attempt, events, should_stop)
    events.close()
    return outcome, read_from(folder / "events" / f"{attempt}.jsonl", 0, 1 << 26)[0]


def new_run(folder: Path, datasets: Path, record: DatasetRecord, **overrides: Any) -> None:
    ready = prepared(record.name, "baseline-cnn", NARROW | overrides, datasets)
    create_run_dir(folder, ready.spec, record, {})


def answers_of(folder: Path) -> Answers:
    answers = last_answers(folder)
    assert answers is not None
    return answers


def findings(events: list[dict[str, Any]]) -> dict[str, str]:
    return {event["kind"]: event["message"] for event in events if event["e"] == "finding"}


@pytest.mark.parametrize("fraction", [0.0, 0.1])
def test_the_own_split_is_validated_on_and_all_of_train_is_trained_on(tmp_path: Path, fraction: float) -> None:
    record = make_own_validation(tmp_path)
    new_run(tmp_path / "r", tmp_path, record, val_fraction=fraction, early_stopping=2)
    outcome, events = run(tmp_path / "r", tmp_path)
    assert outcome.reason == "finished"
    assert (events[0]["val_count"], events[0]["steps_per_epoch"]) == (10, 4)
    answers = answers_of(tmp_path / "r")
    assert answers.row.tolist() == list(range(10))
    labels = read_labels(tmp_path, "own", "val")
    assert (answers.guess == labels).mean() == outcome.summary["val/acc"]
    assert findings(events)["unvalidated_classes"] == "The validation split has no image of 1 class: cow."


def test_own_validation_images_that_do_not_fit_the_device_are_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = make_own_validation(tmp_path)
    for folder in ("resident", "streamed"):
        new_run(tmp_path / folder, tmp_path, record)
        outcome, _ = run(tmp_path / folder, tmp_path)
        assert outcome.reason == "finished"
        monkeypatch.setenv(DATA_LIMIT, "1000")
    resident, streamed = answers_of(tmp_path / "resident"), answers_of(tmp_path / "streamed")
    assert resident.guess.tolist() == streamed.guess.tolist()


def test_runs_over_seeds_are_validated_on_the_same_images(tmp_path: Path) -> None:
    record = make_uneven(tmp_path)
    rows = []
    for seed in (0, 1):
        new_run(tmp_path / f"r{seed}", tmp_path, record, seed=seed, val_fraction=0.02)
        outcome, events = run(tmp_path / f"r{seed}", tmp_path)
        assert outcome.reason == "finished"
        assert findings(events)["unvalidated_classes"].startswith("No image is held out for validation of 1 class: d. ")
        rows.append(answers_of(tmp_path / f"r{seed}").row.tolist())
    labels = read_labels(tmp_path, "uneven", "train")
    assert rows[0] == rows[1]
    assert np.bincount(labels[rows[0]], minlength=5).tolist() == [1, 1, 1, 0, 1]


def test_a_run_of_an_earlier_version_is_resumed_with_the_split_of_its_seed(tmp_path: Path) -> None:
    record = make_uneven(tmp_path)
    ready = prepared("uneven", "baseline-cnn", NARROW | {"seed": 3, "epochs": 4}, tmp_path)
    old = ready.spec.model_copy(update={"dataset": DatasetSpec(name="uneven", sha256=record.sha256)})
    for folder in ("whole", "resumed"):
        create_run_dir(tmp_path / folder, old, record, {})
        path = RunDir(tmp_path / folder).spec
        written = json.loads(path.read_text())
        del written["dataset"]["split_seed"]  # which the earlier version did not know
        path.write_text(json.dumps(written))
    assert run(tmp_path / "resumed", tmp_path, stop_at=10)[0].reason == "interrupted"
    outcome, _ = run(tmp_path / "resumed", tmp_path, attempt=2)
    assert outcome == run(tmp_path / "whole", tmp_path)[0]
    held_out = stratified_split(read_labels(tmp_path, "uneven", "train"), 0.1, 3)[1]
    assert answers_of(tmp_path / "resumed").row.tolist() == held_out.tolist()


def test_where_nothing_can_be_held_out_nothing_is_called_the_best(tmp_path: Path) -> None:
    record = make_uneven(tmp_path, (1,) * 20)
    new_run(tmp_path / "r", tmp_path, record)
    outcome, events = run(tmp_path / "r", tmp_path)
    assert (outcome.reason, events[0]["val_count"]) == ("finished", 0)
    told = findings(events)["unvalidated_classes"]
    assert told.endswith("Nothing is validated, and the last epoch is the one that is tested.")
    lines = [event["line"] for event in events if event["e"] == "log"]
    assert any(line.startswith("saved step") for line in lines)
    assert not any("best" in line for line in lines)
    assert answered_steps(tmp_path / "r") == []
