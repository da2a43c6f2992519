"""What the Errors tab says of a run that has nothing to show."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from app.datasets.datasets import Datasets
from app.runs.launching import Launcher
from app.runs.requests import NewRun
from app.runs.runs import Runs
from app.storage.db import Database
from app.storage.tables import Run, Status
from app.web.runs.errors_tab import tab_of
from tests.databases import settings_of
from tests.trainer.data.own_validation import make_own_validation, make_uneven


@pytest.fixture
def runs(tmp_path: Path, database: Database) -> Runs:
    return Runs(database, settings_of(tmp_path))


def launched(runs: Runs, dataset: str, **columns: Any) -> str:
    overrides = {"val_fraction": columns.pop("val_fraction", 0.1)}
    new = NewRun(dataset=dataset, preset="baseline-cnn", overrides=overrides)
    run_id = Launcher(runs.database, runs.settings).create(new).id
    with runs.database.write() as session:
        row = session.exec(select(Run).where(Run.id == run_id)).one()
        for name, value in columns.items():
            setattr(row, name, value)
    return run_id


def reason(runs: Runs, run_id: str) -> str:
    return tab_of(runs, Datasets(runs.settings.datasets), runs.get(run_id), None, None, 1).reason


def test_a_run_without_a_validation_split_says_so_before_and_after_it(runs: Runs) -> None:
    make_uneven(runs.settings.datasets)
    none = "No validation split: val_fraction is 0, so that no images were held out."
    assert reason(runs, launched(runs, "uneven", val_fraction=0)) == none
    assert reason(runs, launched(runs, "uneven", val_fraction=0, status=Status.FINISHED, val_count=0)) == none


def test_a_run_for_which_no_class_could_spare_an_image_says_so(runs: Runs) -> None:
    make_uneven(runs.settings.datasets, (1, 1, 1))
    none = "No validation split: every class has one training image, so that no images were held out."
    assert reason(runs, launched(runs, "uneven", status=Status.FINISHED, val_count=0)) == none


def test_a_run_on_an_own_validation_split_waits_for_its_evaluation(runs: Runs) -> None:
    make_own_validation(runs.settings.datasets)
    waits = "Predictions appear here after the first epoch."
    assert reason(runs, launched(runs, "own", val_fraction=0)) == waits


def test_another_dataset_of_the_same_name_is_not_taken_for_the_runs(runs: Runs) -> None:
    make_uneven(runs.settings.datasets)
    run_id = launched(runs, "uneven", status=Status.FINISHED, val_count=4)
    shutil.rmtree(runs.settings.datasets / "uneven")
    make_uneven(runs.settings.datasets, pixel=9)
    gone = "The dataset was deleted or replaced: the images and labels of this run's predictions are gone."
    assert reason(runs, run_id) == gone
