"""Which images of a split are shown, and in which order."""

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
    """Rows of the images of `classes`, of all if None. Where nothing is measured yet, the order is by turns."""
    order = by_turns(labels)
    if sort == "number":
        order = np.arange(len(labels))
    elif sort != "turns" and measures is not None:
        key = measures.contrast[split] if sort == "flattest" else measures.brightness[split]
        order = np.argsort(-key if sort == "brightest" else key, kind="stable")
    return order if classes is None else order[np.isin(labels[order], list(classes))]


def by_turns(labels: Labels) -> Labels:
    """All rows, an image of each class in turn, so that a page shows what there is even where the split is sorted."""
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], labels[by_class])
    turn = np.arange(len(labels)) - starts
    return by_class[np.argsort(turn, kind="stable")]
