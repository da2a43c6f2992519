"""How many images a model answers, and how many of its answers are right, if it may say that it is not sure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.display.intervals import wilson

TARGETS = (0.9, 0.95, 0.99)
MOST_POINTS = 200


@dataclass(frozen=True)
class Option:
    """With `threshold`, the share `coverage` of the images is answered, and `accuracy` of the answers are right."""

    threshold: float
    coverage: float
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Coverage:
    """Of validation images. `path` is an SVG path within 100 × 100, coverage to the right and accuracy upwards.

    `options` are the thresholds with the largest coverage whose answers are right as often as a target says, by that
    target, None where no threshold is. `now` is what the threshold that is set gives.
    """

    images: int
    path: str
    options: tuple[tuple[float, Option | None], ...]
    now: Option | None


def coverage(top: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], threshold: float | None) -> Coverage:
    """`top` (n,): the calibrated probability of each predicted class; `right` (n,): whether it is the image's."""
    order = np.argsort(-top, kind="stable")
    top, right = top[order], right[order]
    ends = np.flatnonzero(np.diff(top, append=-np.inf))  # the last image of each distinct probability
    shares, accuracies = (ends + 1) / len(top), np.cumsum(right)[ends] / (ends + 1)
    kept = np.unique(np.linspace(0, len(ends) - 1, MOST_POINTS).astype(int))
    path = "M" + "L".join(f"{100 * shares[at]:.1f} {100 * (1 - accuracies[at]):.1f}" for at in kept)
    options = []
    for target in TARGETS:
        reached = np.flatnonzero(accuracies >= target)
        options.append((target, option(top, right, _below(top[ends[reached[-1]]])) if len(reached) else None))
    return Coverage(len(top), path, tuple(options), None if threshold is None else option(top, right, threshold))


def option(top: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], threshold: float) -> Option:
    answered = top >= threshold
    count, hits = int(answered.sum()), int(right[answered].sum())
    return Option(threshold, count / len(top), hits / count if count else math.nan, wilson(hits, count))


def _below(value: float) -> float:
    """The value, rounded down to four digits."""
    return math.floor(1e4 * value) / 1e4
