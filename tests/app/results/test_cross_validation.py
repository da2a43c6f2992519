"""Cross-validations: the spread over folds, and the held-out predictions pooled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from app.datasets.datasets import Datasets
from app.results.cross_validation import cross_validations
from app.runs.launching import Launcher
from app.runs.runs import Runs
from app.runs.variants import NewVariants, launch_variants
from app.storage.db import Database
from app.web.runs.folds import folds_view
from tests.databases import settings_of
from tests.finished_runs import PER_EPOCH, finished_run
from trainer.data.splits import validation_split
from trainer.rundir.answers import Answers, write_answers

FOLDS = 3


@pytest.fixture
def runs(tmp_path: Path, few_shapes: Path) -> Iterator[Runs]:
    (tmp_path / "datasets").symlink_to(few_shapes)
    database = Database(settings_of(tmp_path).url)
    database.migrate()
    yield Runs(database, settings_of(tmp_path))
    database.close()


def finished_fold(runs: Runs, fold: int, accs: list[float], group: str = "g", **more: object) -> tuple[str, Answers]:
    """A finished run that holds out the fold, with random predictions at its best epoch."""
    overrides = {"epochs": len(accs), "val_folds": FOLDS, "val_fold": fold, **more}
    run_id = finished_run(runs, accs, group=group, overrides=overrides)
    run = runs.get(run_id)
    datasets = Datasets(runs.settings.datasets)
    record = datasets.get(run.dataset)
    rows = validation_split(run.train_spec, record, datasets.labels(run.dataset, "train"), datasets.root).rows
    guess = np.random.default_rng(fold).integers(0, len(record.classes), len(rows)).astype(np.int16)
    half = np.full(len(rows), 0.5, np.float16)
    best = PER_EPOCH * (1 + int(np.argmax(accs)))
    answers = Answers(best, rows.astype(np.int32), guess, half, half)
    write_answers(runs.folder(run_id), answers)
    return run_id, answers


def test_the_pooled_matrix_is_that_of_all_predictions(runs: Runs) -> None:
    datasets = Datasets(runs.settings.datasets)
    finished_fold(runs, 1, [0.9])  # was trained again below
    kept = [finished_fold(runs, fold, [acc, 0.1]) for fold, acc in enumerate((0.2, 0.3, 0.4), start=1)]
    finished_fold(runs, 2, [0.8], group="other")
    finished_run(runs, [0.5], group="g", overrides={"epochs": 1})  # holds out a share
    found = {item.folds: item for item in cross_validations(runs.database, runs, datasets, "g") if item.finished == 3}
    result = found[FOLDS]
    assert [run.id for run in result.runs] == [run_id for run_id, _ in kept]
    assert (result.figures["acc"].mean, result.figures["acc"].sd) == pytest.approx((0.3, 0.1))
    assert result.pooled is not None
    labels = datasets.labels("shapes100", "train")
    rows = np.concatenate([answers.row for _, answers in kept])
    guesses = np.concatenate([answers.guess for _, answers in kept])
    assert sorted(rows) == list(range(len(labels)))
    assert np.array_equal(result.pooled.matrix, confusion_matrix(labels[rows], guesses, labels=np.arange(100)))
    right = int((labels[rows] == guesses).sum())
    wilson = binomtest(right, len(rows)).proportion_ci(method="wilson")
    assert (result.pooled.images, result.pooled.right) == (len(labels), right)
    assert (result.pooled.low, result.pooled.high) == pytest.approx((wilson.low, wilson.high))
    assert result.pooled.balanced_acc == pytest.approx(balanced_accuracy_score(labels[rows], guesses))
    view = folds_view(result)
    assert view.is_complete
    assert view.figures[0].value == "30.0 ± 10.0%"
    assert sum(pair.count for pair in view.pairs) > 0


def test_folds_that_have_not_finished_or_kept_nothing_are_told(runs: Runs) -> None:
    datasets = Datasets(runs.settings.datasets)
    made = launch_variants(
        Launcher(runs.database, runs.settings),
        NewVariants(dataset="shapes100", preset="baseline-cnn", folds=FOLDS, group="g", overrides={"epochs": 1}),
    )
    assert [(run.spec["val_folds"], run.spec["val_fold"]) for run in made.runs] == [(3, 1), (3, 2), (3, 3)]
    assert [run.name for run in made.runs] == [f"baseline-cnn fold{fold}" for fold in (1, 2, 3)]
    (found,) = cross_validations(runs.database, runs, datasets, "g")
    assert (found.finished, found.pooled, found.reason) == (0, None, "no fold has finished yet")
    finished_fold(runs, 2, [0.25])
    (found,) = cross_validations(runs.database, runs, datasets, "g")
    assert found.finished == 1
    assert found.pooled is not None
    assert folds_view(found).figures[0].value == "25.0% (one fold)"
    finished_run(runs, [0.5], group="g", overrides={"epochs": 1, "val_folds": FOLDS, "val_fold": 1})
    (found,) = cross_validations(runs.database, runs, datasets, "g")
    assert (found.pooled, found.reason) == (None, "no predictions of fold 1 were kept")
