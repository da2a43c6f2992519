"""Which of the compared runs gave answers that differ by more than chance, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from app.datasets.datasets import Datasets
from app.results.mcnemar import PairedTest, mcnemar
from app.runs.public import RunPublic
from trainer.data.errors import DatasetError
from trainer.rundir.answers import read_answers


@dataclass(frozen=True)
class Marks:
    """`rows` int32 (n,) rising, of the training arrays; `right` bool (n,): whether the answer at the best step was."""

    rows: npt.NDArray[np.int32]
    right: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """`test` is None where the two cannot be paired; `reason` says why not."""

    first: RunPublic
    second: RunPublic
    images: int
    test: PairedTest | None
    reason: str = ""


def pairs_of(runs: Sequence[RunPublic], folders: Mapping[str, Path], datasets: Datasets) -> list[Pair]:
    """Every two of the runs, in their order."""
    labels = _LabelsOf(datasets)
    marks = {run.id: _marks(run, folders[run.id], labels) for run in runs}
    return [_pair(first, second, marks[first.id], marks[second.id]) for first, second in combinations(runs, 2)]


def _pair(first: RunPublic, second: RunPublic, a: Marks | str, b: Marks | str) -> Pair:
    reason = _apart(first, second)
    if not reason and isinstance(a, Marks) and isinstance(b, Marks):
        if np.array_equal(a.rows, b.rows):
            test = mcnemar(int((a.right & ~b.right).sum()), int((b.right & ~a.right).sum()))
            return Pair(first, second, len(a.rows), test)
        reason = "other images held out: the seed or the validation share differs"
    if not reason:
        reason = a if isinstance(a, str) else b if isinstance(b, str) else ""
    return Pair(first, second, 0, None, reason)


def _apart(first: RunPublic, second: RunPublic) -> str:
    if first.dataset != second.dataset or _hashes(first) != _hashes(second):
        return "other data"
    return "" if first.train_spec.target == second.train_spec.target else "other target: classes and superclasses"


def _hashes(run: RunPublic) -> object:
    return run.train_spec.dataset.sha256


def _marks(run: RunPublic, folder: Path, labels_of: _LabelsOf) -> Marks | str:
    """The run's marks, or why there are none."""
    if run.best_step is None:
        return "no validation yet"
    labels = labels_of(run)
    if labels is None:
        return "the data set is gone or has changed"
    try:
        answers = read_answers(folder, run.best_step)
    except (FileNotFoundError, SafetensorError):
        return "no answers were kept"
    order = np.argsort(answers.row)
    rows = answers.row[order]
    return Marks(rows, answers.guess[order] == labels[rows])


class _LabelsOf:
    """The training labels that a run learnt, read once for all that learnt the same."""

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
            record = self._datasets.get(run.dataset)
            labels = self._datasets.labels(run.dataset, "train")
        except DatasetError:
            return None
        if record.sha256 != _hashes(run):
            return None
        return record.target_labels(run.train_spec.target, labels)
