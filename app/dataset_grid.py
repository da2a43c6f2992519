"""In which order the images of a split are shown."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]


def class_counts(labels: Labels, classes: int) -> list[int]:
    counts: list[int] = np.bincount(labels, minlength=classes).tolist()
    return counts


def rows_of(labels: Labels, chosen: int) -> Labels:
    return np.flatnonzero(labels == chosen)


def by_turns(labels: Labels) -> Labels:
    """All rows, an image of each class in turn, so that a page shows what there is even where the split is sorted."""
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], labels[by_class])
    turn = np.arange(len(labels)) - starts
    return by_class[np.argsort(turn, kind="stable")]
