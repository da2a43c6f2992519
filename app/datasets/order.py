"""Select and order the images of a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainer.data.format import Split
from trainer.data.survey import Measures

Labels = npt.NDArray[np.int64]
Sort = Literal["turns", "number", "darkest", "brightest", "flattest"]


def chosen_rows(
    labels: Labels,
    split: Split,
    *,
    classes: Sequence[int] | None,
    sort: Sort,
    measures: Measures | None,
) -> Labels:
    """Return the rows of the images of `classes` (of all if None) in the order `sort`, int64.

    Without `measures`, the orders by brightness and contrast fall back to "turns": the classes interleaved.
    """
    order = interleaved(labels)
    if sort == "number":
        order = np.arange(len(labels))
    elif sort != "turns" and measures is not None:
        key = measures.contrast[split] if sort == "flattest" else measures.brightness[split]
        order = np.argsort(-key if sort == "brightest" else key, kind="stable")
    return order if classes is None else order[np.isin(labels[order], list(classes))]


def interleaved(labels: Labels) -> Labels:
    """Return all rows, one image per class in turn, so that a page shows all classes even if the split is sorted."""
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], labels[by_class])
    turn = np.arange(len(labels)) - starts
    return by_class[np.argsort(turn, kind="stable")]
