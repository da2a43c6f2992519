"""Cross-validations of a group: what runs that hold out one fold each come to together."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from sqlmodel import col, select

from app.datasets.datasets import Datasets
from app.display.formatting import changes_text
from app.display.intervals import wilson
from app.results.outcomes import summary_number
from app.results.seeds import spread
from app.runs.public import RunPublic, public
from app.runs.runs import Runs
from app.runs.variants import FOLD, FOLDS
from app.storage.db import Database
from app.storage.tables import Run, Status
from trainer.data.errors import DatasetError
from trainer.rundir.answers import read_answers

MOST_RUNS = 200  # of a group: the newest
FIGURES = ("acc", "balanced_acc", "macro_f1", "auc", "log_loss", "loss")

Ints = npt.NDArray[np.int64]


class FoldRun(BaseModel):
    fold: int = Field(description="From 1.")
    id: str
    name: str
    status: Status
    best_acc: float | None
    val_count: int | None


class FoldFigure(BaseModel):
    """A figure of the validation of each finished fold, at the run's best epoch."""

    mean: float
    sd: float | None = Field(description="Sample standard deviation over the folds; null for fewer than two.")
    count: int = Field(description="How many folds have it.")


class Pooled(BaseModel):
    """The predictions for all held-out images of the finished folds, each by the run that did not train on it."""

    images: int
    right: int
    acc: float
    low: float = Field(description="Lower bound of the 95% Wilson interval of the accuracy.")
    high: float
    balanced_acc: float = Field(description="The mean of the classes' accuracies.")
    classes: list[str]
    matrix: list[list[int]] = Field(description="Rows are the true classes, columns the predicted ones.")


class CrossValidation(BaseModel):
    """Runs of a group that differ in the fold alone; of several of one fold, the newest finished one."""

    dataset: str
    preset: str | None
    changed: str = Field(description="The settings that differ from the preset, in words.")
    folds: int
    finished: int
    runs: list[FoldRun] = Field(description="By fold; a fold without a run is missing.")
    figures: dict[str, FoldFigure]
    pooled: Pooled | None
    reason: str = Field(description="Why nothing is pooled.")


def cross_validations(database: Database, runs: Runs, datasets: Datasets, group: str) -> list[CrossValidation]:
    """Return the cross-validations among the newest MOST_RUNS runs of a group; none if there are none."""
    with database.read() as session:
        statement = select(Run).where(Run.group == group).order_by(col(Run.key).desc()).limit(MOST_RUNS)
        found = [public(row) for row in session.exec(statement).all() if row.spec.get(FOLDS)]
    return [_summary(members, runs, datasets) for members in _alike(found)]


def _alike(found: Sequence[RunPublic]) -> list[list[RunPublic]]:
    """The runs that differ in the fold alone, one per fold and in the order of the folds."""
    alike: dict[str, dict[int, RunPublic]] = defaultdict(dict)
    for run in found:  # newest first
        key = json.dumps([{**run.spec, FOLD: None}, run.parent, run.parent_step], sort_keys=True)
        folds, fold = alike[key], run.spec[FOLD]
        if fold not in folds or (run.status == Status.FINISHED and folds[fold].status != Status.FINISHED):
            folds[fold] = run
    return [[folds[fold] for fold in sorted(folds)] for folds in reversed(alike.values())]


def _summary(members: Sequence[RunPublic], runs: Runs, datasets: Datasets) -> CrossValidation:
    first = members[0]
    finished = [run for run in members if run.status == Status.FINISHED]
    figures = {}
    for name in FIGURES:
        values = [summary_number(run, f"best/{name}") for run in finished]
        if name == "acc":
            values = [run.best_acc for run in finished]
        if (found := spread([value for value in values if value is not None])) is not None:
            figures[name] = FoldFigure(mean=found.mean, sd=found.sd, count=found.count)
    pooled = _pooled(finished, runs, datasets) if finished else "no fold has finished yet"
    return CrossValidation(
        dataset=first.dataset,
        preset=first.preset,
        changed=changes_text(item for item in first.changed if item["field"] not in (FOLD, FOLDS)),
        folds=first.spec[FOLDS],
        finished=len(finished),
        runs=[FoldRun(fold=run.spec[FOLD], **run.model_dump(include={*FoldRun.model_fields})) for run in members],
        figures=figures,
        pooled=None if isinstance(pooled, str) else pooled,
        reason=pooled if isinstance(pooled, str) else "",
    )


def _pooled(finished: Sequence[RunPublic], runs: Runs, datasets: Datasets) -> Pooled | str:
    """The pooled predictions, or the reason why there are none."""
    spec = finished[0].train_spec
    try:
        record = datasets.trained_on(spec.dataset)
        labels = record.target_labels(spec.target, datasets.labels(record.name, "train"))
    except DatasetError:
        return "the dataset is gone or has changed"
    rows, guesses = [], []
    for run in finished:
        answers = None if run.best_step is None else read_answers(runs.folder(run.id), run.best_step)
        if answers is None:
            return f"no predictions of fold {run.spec[FOLD]} were kept"
        rows.append(answers.row)
        guesses.append(answers.guess)
    names = record.target_names(spec.target)
    matrix = confusion(labels[np.concatenate(rows)], np.concatenate(guesses), len(names))
    images, right = int(matrix.sum()), int(matrix.trace())
    low, high = wilson(right, images)
    own = matrix.sum(1)
    return Pooled(
        images=images,
        right=right,
        acc=right / images,
        low=low,
        high=high,
        balanced_acc=float((matrix.diagonal() / np.maximum(own, 1))[own > 0].mean()),
        classes=list(names),
        matrix=matrix.tolist(),
    )


def confusion(labels: Ints, guesses: npt.NDArray[np.int16], classes: int) -> Ints:
    """The confusion matrix, int64 (C, C): rows are the true classes, columns the predicted ones."""
    return np.bincount(labels * classes + guesses, minlength=classes**2).reshape(classes, classes)
