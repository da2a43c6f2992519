"""A debiased exponential average of a series, over all of its points. static/js/lib/smooth.js is its counterpart."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from app.metrics.points import Points

Floats = npt.NDArray[np.float64]

RESOLUTION = 1000  # the average never looks back by less than this part of the series
FEWEST = 8  # with fewer points, none is an outlier
FENCE = 5.0
LEAST_SPREAD = 0.05
START = 1.25
BLOCK_DECAY = 200.0  # e to the power of minus twice this is above the smallest float


def smoothed(points: Points, weight: float, *, keep_start: bool = False) -> tuple[Floats, float]:
    """Return the average at every point and the value above which points are outliers.

    Each regular distance between two points keeps `weight` (0 to 1) of the average before it. Outliers and values that
    are not finite are left out, and the average is NaN there. `keep_start` is for losses (see `outlier_fence`).
    """
    fence = outlier_fence(points.values, keep_start=keep_start)
    kept = np.isfinite(points.values) & (points.values <= fence)
    average = np.full(len(points), np.nan)
    steps, values = points.steps[kept], points.values[kept]
    if len(values) == 0:
        return average, fence
    if weight <= 0:
        average[kept] = values
        return average, fence
    gaps = np.maximum(1, np.diff(steps, prepend=0))
    log_decay = math.log(weight) * gaps / _regular_gap(points.steps)
    share = -np.expm1(log_decay)
    total, weights = _recurrence(log_decay, np.stack([values * share, share]))
    average[kept] = total / weights
    return average, fence


def outlier_fence(values: Floats, *, keep_start: bool = False) -> float:
    """Return the value above which values are outliers: far above the median, measured by the 90th percentile.

    With `keep_start`, what is not much above the first value is none: a loss begins far above what it falls to.
    """
    finite = values[np.isfinite(values)]
    if len(finite) < FEWEST:
        return math.inf
    median, high = np.quantile(finite, [0.5, 0.9], method="lower").tolist()
    fence = float(median + FENCE * max(high - median, LEAST_SPREAD * abs(median)))
    return max(fence, START * float(finite[0])) if keep_start else fence


def _regular_gap(steps: npt.NDArray[np.int64]) -> float:
    """Return the distance in steps over which the weight applies: the median gap, or RESOLUTION of the whole length."""
    if len(steps) < 2:
        return 1.0
    part = float(steps[-1] - steps[0]) / RESOLUTION
    if len(steps) > 2 * RESOLUTION:
        return part  # half of the gaps are as large as the median, so that it is smaller
    return max(float(np.quantile(np.diff(steps), 0.5, method="lower")), part)


def _recurrence(log_decay: Floats, added: Floats) -> Floats:
    """Return x with x[:, i] = exp(log_decay[i]) * x[:, i - 1] + added[:, i]; `added` is (rows, n).

    Vectorized: x divided by the product of all decays is a plain sum. It is taken in blocks, so that the product does
    not underflow.
    """
    product = np.cumsum(np.maximum(log_decay, -BLOCK_DECAY))
    starts = np.flatnonzero(np.diff(np.floor(product / -BLOCK_DECAY), prepend=-1.0))
    x, before = np.empty_like(added), np.zeros((len(added), 1))
    for first, stop in pairwise([*starts.tolist(), added.shape[1]]):
        decay = np.exp(product[first:stop] - (product[first - 1] if first else 0.0))
        x[:, first:stop] = decay * (before + np.cumsum(added[:, first:stop] / decay, axis=1))
        before = x[:, stop - 1 : stop]
    return x
