"""Which epoch is selected, by any of the figures, and how the selected model is calibrated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.data.own_validation import make_uneven
from tests.trainer.test_validation import new_run, run
from trainer.data.format import open_split, read_record
from trainer.engine.calibration import reliability
from trainer.inference.classifier import load_best
from trainer.rundir.answers import read_answers, read_table
from trainer.rundir.calibration import read_calibration
from trainer.rundir.checkpoints import best_checkpoint, list_checkpoints
from trainer.rundir.spec import read_spec

FIGURES = ("acc", "balanced_acc", "macro_f1", "auc", "loss")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets")
    make_uneven(root, (240, 120, 60, 60))
    return root


@pytest.mark.parametrize("select_by", FIGURES)
def test_the_epoch_of_the_best_figure_is_selected(tmp_path: Path, datasets: Path, select_by: str) -> None:
    record = read_record(datasets, "uneven")
    options = {"epochs": 4, "val_fraction": 0.2, "optimizer.lr": 0.01, "select_by": select_by}
    new_run(tmp_path / "run", datasets, record, **options)
    outcome, events = run(tmp_path / "run", datasets)
    validations = [event for event in events if event["e"] == "metrics" and f"val/{select_by}" in event["v"]]
    best = (min if select_by == "loss" else max)(validations, key=lambda event: event["v"][f"val/{select_by}"])
    chosen = best_checkpoint(tmp_path / "run")
    assert chosen is not None
    assert chosen.step == best["step"] == outcome.summary["best/step"]
    for name in (*FIGURES, "macro_precision", "log_loss"):
        assert outcome.summary[f"best/{name}"] == pytest.approx(best["v"][f"val/{name}"])
        assert f"test/{name}" in outcome.summary
    assert len({info.step for info in list_checkpoints(tmp_path / "run")} & {chosen.step}) == 1


def test_a_resumed_run_selects_the_same(tmp_path: Path, datasets: Path) -> None:
    record = read_record(datasets, "uneven")
    options = {"epochs": 4, "val_fraction": 0.2, "optimizer.lr": 0.01, "select_by": "loss"}
    outcomes = []
    for name in ("whole", "resumed"):
        new_run(tmp_path / name, datasets, record, **options)
        if name == "resumed":
            run(tmp_path / name, datasets, 1, stop_at=110)
        outcomes.append(run(tmp_path / name, datasets, 2)[0].summary)
    assert outcomes[0] == outcomes[1]


def test_the_selected_model_is_calibrated_on_the_validation_images(tmp_path: Path, datasets: Path) -> None:
    record = read_record(datasets, "uneven")
    new_run(tmp_path / "run", datasets, record, val_fraction=0.3, **{"optimizer.lr": 0.01})
    outcome, _ = run(tmp_path / "run", datasets)
    chosen = best_checkpoint(tmp_path / "run")
    assert chosen is not None
    found, table = read_calibration(tmp_path / "run", chosen.step), read_table(tmp_path / "run")
    answers = read_answers(tmp_path / "run", chosen.step)
    assert found is not None
    assert table is not None
    assert answers is not None
    assert (table.step, table.row.tolist()) == (chosen.step, answers.row.tolist())
    assert np.array_equal(table.probabilities.max(1), answers.top)
    assert outcome.summary["test/ece"] == found.before.ece
    assert outcome.summary["test/ece_calibrated"] == found.after.ece
    assert found.images == len(table.row)
    assert read_calibration(tmp_path / "run", chosen.step + 1) is None

    classifier = load_best(tmp_path / "run", read_spec(tmp_path / "run"), record, torch.device("cpu"))
    assert classifier.temperature == found.temperature == outcome.summary["temperature"]
    images, labels = open_split(datasets, "uneven", "test")
    probabilities = classifier.calibrated(classifier.probabilities(images))
    assert reliability(probabilities.log(), torch.from_numpy(labels)).ece == pytest.approx(found.after.ece, abs=1e-4)
    (likeliest,) = classifier.predict(images[:1], 1)[0]
    assert likeliest.probability == pytest.approx(probabilities[0].max().item())


def test_few_validation_images_fit_no_temperature(tmp_path: Path, datasets: Path) -> None:
    new_run(tmp_path / "run", datasets, read_record(datasets, "uneven"), val_fraction=0.02)
    outcome, _ = run(tmp_path / "run", datasets)
    assert "test/ece" in outcome.summary
    assert {"test/ece_calibrated", "temperature"}.isdisjoint(outcome.summary)
    assert read_calibration(tmp_path / "run") is None
