"""A model's mistakes: its predictions on the validation split compared with the labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.datasets.datasets import Datasets
from app.diagnosis.class_results import ClassResult, class_results
from app.display.intervals import wilson
from app.runs.public import RunPublic
from app.runs.runs import Runs
from trainer.data.format import DatasetRecord, Split
from trainer.rundir.answers import Answers, answered_steps, last_answers, read_answers
from trainer.system.spreadsheet import safe_cell

Ints = npt.NDArray[np.int64]
MIN_PROBABILITY = 6e-8  # the smallest positive float16: keeps the loss finite where the stored probability is 0


@dataclass(frozen=True)
class Mistake:
    """One misclassified image of class `label`, predicted as `guess`. `row` is one of the arrays of Examination.split.

    `own` and `top` are the predicted probabilities of `label` and `guess`.
    """

    row: int
    label: str
    guess: str
    own: float
    top: float
    file: str

    @property
    def loss(self) -> float:
        return float(-np.log(max(self.own, MIN_PROBABILITY)))


@dataclass(frozen=True)
class Pair:
    """`count` images of class `label` were predicted as `guess`; `rows` of Examination.split's arrays are examples."""

    label: int
    guess: int
    count: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Examination:
    """The predictions of one evaluation and their labels. The images are rows of the arrays of `split`.

    `labels` is int64 (n,), in the order of `answers`. `order` lists the classes with those of one superclass next to
    each other; `group` is the superclass of each class, None if there are none.
    """

    split: Split
    answers: Answers
    labels: Ints
    names: tuple[str, ...]
    order: tuple[int, ...]
    group: tuple[int, ...] | None
    group_names: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.labels)

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        wrong: npt.NDArray[np.bool_] = self.labels != self.answers.guess
        return wrong

    @property
    def right(self) -> int:
        return self.count - int(self.wrong.sum())

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.right, self.count)

    @property
    def within_group(self) -> int | None:
        """The number of mistakes within the correct superclass; None if there are no superclasses."""
        if self.group is None:
            return None
        group, wrong = np.array(self.group), self.wrong
        return int((group[self.labels[wrong]] == group[self.answers.guess[wrong]]).sum())

    def confusion(self) -> Ints:
        """Return the confusion matrix, int64 (C, C): rows are the true class, columns the predicted class."""
        classes = len(self.names)
        flat = np.bincount(self.labels * classes + self.answers.guess, minlength=classes * classes)
        return flat.reshape(classes, classes)

    def classes(self) -> list[ClassResult]:
        """Return the classes that have images in the validation split, lowest recall first."""
        return class_results(self.confusion(), self.names, self.labels, self.answers.row)

    def pairs(self, most: int, examples: int) -> list[Pair]:
        """Return at most `most` pairs of confused classes, most frequent first, each with up to `examples` rows."""
        matrix = self.confusion()
        np.fill_diagonal(matrix, 0)
        flat = np.argsort(-matrix, axis=None, kind="stable")[:most]
        places = ((int(place) // len(self.names), int(place) % len(self.names)) for place in flat)
        return [
            Pair(label, guess, int(matrix[label, guess]), tuple(self.of_cell(label, guess)[:examples]))
            for label, guess in places
            if matrix[label, guess]
        ]

    def of_cell(self, label: int, guess: int) -> list[int]:
        """Return the rows of the images of `label` predicted as `guess`, most confident first."""
        here = np.flatnonzero((self.labels == label) & (self.answers.guess == guess))
        rows: list[int] = self.answers.row[here[np.argsort(-self.answers.top[here], kind="stable")]].tolist()
        return rows

    def mistakes(self, files: Sequence[str]) -> Iterator[Mistake]:
        """Yield every mistake, highest loss first. `files` are the file names of the arrays of `split`."""
        wrong = np.flatnonzero(self.wrong)
        for place in wrong[np.argsort(self.answers.own[wrong], kind="stable")]:
            row = int(self.answers.row[place])
            yield Mistake(
                row,
                self.names[int(self.labels[place])],
                self.names[int(self.answers.guess[place])],
                float(self.answers.own[place]),
                float(self.answers.top[place]),
                files[row] if row < len(files) else "",
            )


def examine(
    run_dir: Path, record: DatasetRecord, labels: Ints, *, coarse: bool, step: int | None
) -> Examination | None:
    """Return the predictions after `step`, or the last ones; None if the run has none.

    `labels` are the fine labels of the validation arrays. Raises FileNotFoundError: there are none after `step`.
    """
    answers = last_answers(run_dir) if step is None else read_answers(run_dir, step)
    if answers is None:
        if step is None or not answered_steps(run_dir):
            return None
        raise FileNotFoundError(f"{run_dir} has no answers after step {step}.")
    fine, split = labels[answers.row].astype(np.int64), record.validation_split
    to_coarse = record.fine_to_coarse
    if coarse and to_coarse is not None:
        names = tuple(record.target_names("coarse"))
        target = record.target_labels("coarse", fine)
        return Examination(split, answers, target, names, tuple(range(len(names))), None, ())
    names = tuple(record.classes)
    if to_coarse is None:
        return Examination(split, answers, fine, names, tuple(range(len(names))), None, ())
    order = tuple(sorted(range(len(names)), key=lambda index: (to_coarse[index], index)))
    return Examination(split, answers, fine, names, order, tuple(to_coarse), tuple(record.superclasses or ()))


def as_csv(mistakes: Iterator[Mistake]) -> Iterator[str]:
    yield "row,file,label,guess,p_label,p_guess,loss\r\n"
    for item in mistakes:
        written = io.StringIO()
        numbers = [f"{value:.4f}" for value in (item.own, item.top, item.loss)]
        cells = [str(item.row), *map(safe_cell, (item.file, item.label, item.guess)), *numbers]
        csv.writer(written).writerow(cells)
        yield written.getvalue()


def examined(runs: Runs, datasets: Datasets, run: RunPublic, step: int | None) -> Examination | None:
    """Return the predictions after `step`, by default the best step. Raises FileNotFoundError: none after `step`.

    Raises DatasetMissing too: the dataset was deleted or replaced, and the labels with it.
    """
    record = datasets.trained_on(run.train_spec.dataset)
    folder = runs.folder(run.id)
    labels = datasets.labels(run.dataset, record.validation_split)
    coarse = run.train_spec.target == "coarse"
    if step is None and run.best_step is not None:
        try:
            return examine(folder, record, labels, coarse=coarse, step=run.best_step)
        except FileNotFoundError:
            pass  # no predictions were kept after the best step
    return examine(folder, record, labels, coarse=coarse, step=step)
