"""Test for each pair of runs whether their validation predictions differ significantly, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.datasets.datasets import Datasets
from app.results.mcnemar import PairedTest, mcnemar
from app.runs.public import RunPublic
from trainer.data.errors import DatasetError
from trainer.rundir.answers import read_answers


@dataclass(frozen=True)
class Correctness:
    """Which validation images a run classified correctly at its best step.

    `rows` int32 (n,), increasing, are rows of the validation arrays; `correct` is bool (n,).
    """

    rows: npt.NDArray[np.int32]
    correct: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """`test` is None if the runs cannot be tested on the same images; `reason` says why."""

    first: RunPublic
    second: RunPublic
    images: int
    test: PairedTest | None
    reason: str = ""


def pairs_of(runs: Sequence[RunPublic], folders: Mapping[str, Path], datasets: Datasets) -> list[Pair]:
    """Test every pair of the runs, in their order."""
    labels = _TargetLabels(datasets)
    correctness = {run.id: _correctness(run, folders[run.id], labels) for run in runs}
    return [
        _pair(first, second, correctness[first.id], correctness[second.id]) for first, second in combinations(runs, 2)
    ]


def _pair(first: RunPublic, second: RunPublic, a: Correctness | str, b: Correctness | str) -> Pair:
    reason = _incomparable(first, second)
    if not reason and isinstance(a, Correctness) and isinstance(b, Correctness):
        if np.array_equal(a.rows, b.rows):
            test = mcnemar(int((a.correct & ~b.correct).sum()), int((b.correct & ~a.correct).sum()))
            return Pair(first, second, len(a.rows), test)
        reason = "other images held out: the seed or the validation split differs"
    if not reason:
        reason = a if isinstance(a, str) else b if isinstance(b, str) else ""
    return Pair(first, second, 0, None, reason)


def _incomparable(first: RunPublic, second: RunPublic) -> str:
    """Return the reason why the specs rule out a test, or an empty string."""
    if first.dataset != second.dataset or _hashes(first) != _hashes(second):
        return "other data"
    return "" if first.train_spec.target == second.train_spec.target else "other target: classes and superclasses"


def _hashes(run: RunPublic) -> object:
    return run.train_spec.dataset.sha256


def _correctness(run: RunPublic, folder: Path, labels_of: _TargetLabels) -> Correctness | str:
    """Return the run's correctness, or the reason why it is unknown."""
    if run.best_step is None:
        return "no validation yet"
    labels = labels_of(run)
    if labels is None:
        return "the dataset is gone or has changed"
    answers = read_answers(folder, run.best_step)
    if answers is None:
        return "no answers were kept"
    order = np.argsort(answers.row)
    rows = answers.row[order]
    return Correctness(rows, answers.guess[order] == labels[rows])


class _TargetLabels:
    """The labels of the validation arrays for a run's target, read once per dataset content and target."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets
        self._read: dict[tuple[str, str], npt.NDArray[np.int64] | None] = {}

    def __call__(self, run: RunPublic) -> npt.NDArray[np.int64] | None:
        key = (f"{run.dataset} {_hashes(run)}", run.train_spec.target)
        if key not in self._read:
            self._read[key] = self._load(run)
        return self._read[key]

    def _load(self, run: RunPublic) -> npt.NDArray[np.int64] | None:
        try:
            record = self._datasets.trained_on(run.train_spec.dataset)
            labels = self._datasets.labels(run.dataset, record.validation_split)
        except DatasetError:
            return None
        return record.target_labels(run.train_spec.target, labels)
