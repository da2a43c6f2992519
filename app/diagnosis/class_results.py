"""How well each class is recognized: recall, precision and F1 with their intervals, from a confusion matrix."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.display.intervals import wilson
from trainer.system.spreadsheet import safe_cell

Interval = tuple[float, float]


@dataclass(frozen=True)
class ClassResult:
    """One class: `right` of its `count` images are predicted as it, and so are `guessed` images in all.

    `rival` is the class most often predicted instead, and `sample` is the row of one image of the class in the arrays
    of the split.
    """

    index: int
    label: str
    sample: int
    right: int
    count: int
    guessed: int
    rival: int | None
    rival_label: str
    rival_count: int

    @property
    def recall(self) -> float:
        """The share of its images that are predicted as it: the accuracy of the class."""
        return self.right / self.count

    @property
    def recall_interval(self) -> Interval:
        return wilson(self.right, self.count)

    @property
    def precision(self) -> float | None:
        """The share of the images predicted as it that are of it; None if there are none."""
        return self.right / self.guessed if self.guessed else None

    @property
    def precision_interval(self) -> Interval:
        return wilson(self.right, self.guessed)

    @property
    def f1(self) -> float:
        """The harmonic mean of recall and precision."""
        return 2 * self.right / (self.count + self.guessed)

    @property
    def f1_interval(self) -> Interval:
        """That of J = right / (count + guessed − right), a proportion, carried over by F1 = 2J / (1 + J)."""
        low, high = wilson(self.right, self.count + self.guessed - self.right)
        return 2 * low / (1 + low), 2 * high / (1 + high)


@dataclass(frozen=True)
class Averages:
    """Means over the classes, as scikit-learn's with `average="macro"` and `zero_division=0`."""

    f1: float
    precision: float
    recall: float


def class_results(
    matrix: npt.NDArray[np.int64], names: Sequence[str], labels: npt.NDArray[np.int64], rows: npt.NDArray[np.int32]
) -> list[ClassResult]:
    """Return the classes that have images, lowest recall first.

    `matrix` int64 (C, C) has the true classes in its rows. `labels` (n,) are the classes of the images, `rows` (n,)
    their rows in the arrays of the split.
    """
    found = []
    guessed = matrix.sum(0)
    for index, row in enumerate(matrix):
        count, right = int(row.sum()), int(row[index])
        if not count:
            continue
        others = row.copy()
        others[index] = 0
        rival = int(others.argmax()) if others.any() else None
        found.append(
            ClassResult(
                index,
                names[index],
                int(rows[int((labels == index).argmax())]),
                right,
                count,
                int(guessed[index]),
                rival,
                "" if rival is None else names[rival],
                0 if rival is None else int(others[rival]),
            )
        )
    return sorted(found, key=lambda item: (item.recall, item.label))


def averages(matrix: npt.NDArray[np.int64]) -> Averages:
    """Of the classes that have images or are predicted."""
    right, own, guessed = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    known = own + guessed > 0
    right, own, guessed = right[known], own[known], guessed[known]
    return Averages(
        f1=float((2 * right / (own + guessed)).mean()),
        precision=float((right / np.maximum(guessed, 1)).mean()),
        recall=float((right / np.maximum(own, 1)).mean()),
    )


def as_csv(results: Sequence[ClassResult]) -> Iterator[str]:
    yield (
        "class,images,predicted,right,recall,recall_low,recall_high,precision,precision_low,precision_high,"
        "f1,f1_low,f1_high,most_confused_with,confused\r\n"
    )
    for item in results:
        shares = (
            item.recall, *item.recall_interval, item.precision, *item.precision_interval, item.f1, *item.f1_interval
        )  # fmt: skip
        written = io.StringIO()
        csv.writer(written).writerow(
            [
                safe_cell(item.label),
                item.count,
                item.guessed,
                item.right,
                *("" if share is None else f"{share:.4f}" for share in shares),
                safe_cell(item.rival_label),
                item.rival_count,
            ]
        )
        yield written.getvalue()
