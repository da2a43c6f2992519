"""ROC and precision-recall curves of one class against the others, from the selected model's probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_POINTS = 200

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassCurves:
    """Curves from 0 to 1: `roc` (m, 2) of false positive rate and recall, `precision_recall` (k, 2) of recall and
    precision. `auc` is the area under the first, `average_precision` the mean precision over the rises of recall, as
    scikit-learn's. `share` is that of the class among the images: the precision of guessing."""

    index: int
    label: str
    images: int
    roc: Floats
    precision_recall: Floats
    auc: float
    average_precision: float
    share: float

    @property
    def roc_path(self) -> str:
        """An SVG path within 100 × 100."""
        return _path(self.roc)

    @property
    def precision_recall_path(self) -> str:
        return _path(self.precision_recall)


def class_curves(scores: npt.ArrayLike, is_own: npt.NDArray[np.bool_], index: int, label: str) -> ClassCurves | None:
    """`scores` (n,): the probability of the class; `is_own` (n,): whether an image is of it. None if all or no images
    are."""
    values = np.asarray(scores, np.float64)
    own = int(is_own.sum())
    others = len(is_own) - own
    if not own or not others:
        return None
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.diff(values[order], append=-np.inf))  # the last image of each distinct probability
    hits = np.cumsum(is_own[order])[ends]
    taken = ends + 1
    recall, precision, false = hits / own, hits / taken, (taken - hits) / others
    roc = np.stack([np.append(0, false), np.append(0, recall)], 1)
    steps = np.diff(recall, prepend=0)
    return ClassCurves(
        index,
        label,
        own,
        _thinned(roc),
        _thinned(np.stack([np.append(0, recall), np.append(precision[0], precision)], 1)),
        float(np.trapezoid(roc[:, 1], roc[:, 0])),
        float((steps * precision).sum()),
        own / len(is_own),
    )


def _thinned(points: Floats) -> Floats:
    """At most MOST_POINTS of the points, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return points
    kept: Floats = points[np.linspace(0, len(points) - 1, MOST_POINTS).astype(int)]
    return kept


def _path(points: Floats) -> str:
    return "M" + "L".join(f"{100 * x:.1f} {100 * (1 - y):.1f}" for x, y in points)
