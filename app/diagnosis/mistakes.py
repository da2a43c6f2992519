"""Where a model errs: its answers on the validation split held against the labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.datasets.datasets import Datasets
from app.display.intervals import wilson
from app.display.spreadsheet import safe_cell
from app.runs.public import RunPublic
from app.runs.runs import Runs
from trainer.data.format import DatasetRecord
from trainer.rundir.answers import Answers, answered_steps, last_answers, read_answers

Ints = npt.NDArray[np.int64]
LEAST = 6e-8  # the smallest probability that half precision holds; below, the loss has no bound


@dataclass(frozen=True)
class ClassResult:
    """`low` and `high` are the 95% interval of `accuracy`; `rival` is the class most often answered instead."""

    index: int
    label: str
    sample: int
    right: int
    count: int
    low: float
    high: float
    rival: int | None
    rival_label: str
    rival_count: int

    @property
    def accuracy(self) -> float:
        return self.right / self.count


@dataclass(frozen=True)
class Mistake:
    """One image that was answered wrongly: its row in the training arrays, and how sure the model was of what."""

    row: int
    label: str
    guess: str
    own: float
    top: float
    file: str

    @property
    def loss(self) -> float:
        return float(-np.log(max(self.own, LEAST)))


@dataclass(frozen=True)
class Pair:
    """`count` images of class `label` were answered `guess`; `rows` are a few of them."""

    label: int
    guess: int
    count: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Examination:
    """One epoch's answers beside the labels. `order` puts classes of one superclass side by side; `group` is the
    superclass of each class, where there are any."""

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
        """Mistakes that stay within the superclass."""
        if self.group is None:
            return None
        group, wrong = np.array(self.group), self.wrong
        return int((group[self.labels[wrong]] == group[self.answers.guess[wrong]]).sum())

    def confusion(self) -> Ints:
        """int64 (C, C): how many images of the row's class were answered the column's."""
        classes = len(self.names)
        flat = np.bincount(self.labels * classes + self.answers.guess, minlength=classes * classes)
        return flat.reshape(classes, classes)

    def classes(self) -> list[ClassResult]:
        """Each class that has images here, the worst first."""
        matrix = self.confusion()
        found = []
        for index, row in enumerate(matrix):
            count, right = int(row.sum()), int(row[index])
            if not count:
                continue
            others = row.copy()
            others[index] = 0
            rival = int(others.argmax()) if others.any() else None
            sample = int(self.answers.row[int((self.labels == index).argmax())])
            found.append(
                ClassResult(
                    index,
                    self.names[index],
                    sample,
                    right,
                    count,
                    *wilson(right, count),
                    rival,
                    "" if rival is None else self.names[rival],
                    0 if rival is None else int(others[rival]),
                )
            )
        return sorted(found, key=lambda item: (item.accuracy, item.label))

    def pairs(self, most: int, examples: int) -> list[Pair]:
        """The classes most often taken for each other, the commonest mistake first."""
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
        """Rows of the images of `label` that were answered `guess`, the surest first."""
        here = np.flatnonzero((self.labels == label) & (self.answers.guess == guess))
        rows: list[int] = self.answers.row[here[np.argsort(-self.answers.top[here], kind="stable")]].tolist()
        return rows

    def mistakes(self, files: Sequence[str]) -> Iterator[Mistake]:
        """Every mistake, the worst loss first. `files` are the file names of the training arrays."""
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
    """The answers after `step`, or the last ones; None where nothing was answered. `labels` are the training arrays'.

    Raises FileNotFoundError where nothing was answered at that very step.
    """
    answers = last_answers(run_dir) if step is None else read_answers(run_dir, step)
    if answers is None:
        if step is None or not answered_steps(run_dir):
            return None
        raise FileNotFoundError(f"{run_dir} has no answers after step {step}.")
    fine = labels[answers.row].astype(np.int64)
    to_coarse = record.fine_to_coarse
    if coarse and to_coarse is not None:
        names = tuple(record.target_names("coarse"))
        return Examination(answers, record.target_labels("coarse", fine), names, tuple(range(len(names))), None, ())
    names = tuple(record.classes)
    if to_coarse is None:
        return Examination(answers, fine, names, tuple(range(len(names))), None, ())
    order = tuple(sorted(range(len(names)), key=lambda index: (to_coarse[index], index)))
    return Examination(answers, fine, names, order, tuple(to_coarse), tuple(record.superclasses or ()))


def as_csv(mistakes: Iterator[Mistake]) -> Iterator[str]:
    yield "row,file,label,guess,p_label,p_guess,loss\r\n"
    for item in mistakes:
        written = io.StringIO()
        numbers = [f"{value:.4f}" for value in (item.own, item.top, item.loss)]
        cells = [str(item.row), *map(safe_cell, (item.file, item.label, item.guess)), *numbers]
        csv.writer(written).writerow(cells)
        yield written.getvalue()


def examined(runs: Runs, datasets: Datasets, run: RunPublic, step: int | None) -> Examination | None:
    """The answers at `step`, or at the best one. Raises FileNotFoundError where there are none at that very step."""
    record = datasets.get(run.dataset)
    folder = runs.folder(run.id)
    labels = datasets.labels(run.dataset, "train")
    coarse = run.train_spec.target == "coarse"
    if step is None and run.best_step is not None:
        try:
            return examine(folder, record, labels, coarse=coarse, step=run.best_step)
        except FileNotFoundError:
            pass  # the best step was not an evaluation that kept its answers
    return examine(folder, record, labels, coarse=coarse, step=step)
