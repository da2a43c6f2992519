"""The robust slope of a noisy series, with an interval. Does not import torch.

Sources: H. Theil (1950) and P. K. Sen (1968), "Estimates of the regression coefficient based on Kendall's tau".
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

POINTS = 40  # values that the slope is computed from: medians of equally many neighbors
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Trend:
    """The change per step: the median of the slopes of all pairs of points, and its 95% interval."""

    slope: float
    low: float
    high: float


def trend(steps: Sequence[int], values: Sequence[float]) -> Trend:
    """Return the trend of a series. With fewer than four points the interval is unbounded."""
    points = _thinned(steps, values)
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for index, later in enumerate(points)
        for earlier in points[:index]
        if later[0] > earlier[0]
    )
    if len(points) < 4 or not slopes:
        return Trend(0.0, -math.inf, math.inf)
    count = len(points)
    spread = NORMAL_95 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    below = max(0, round((len(slopes) - spread) / 2))
    above = min(len(slopes) - 1, round((len(slopes) + spread) / 2))
    return Trend(statistics.median(slopes), slopes[below], slopes[above])


def _thinned(steps: Sequence[int], values: Sequence[float]) -> list[tuple[float, float]]:
    width = max(1, -(-len(steps) // POINTS))
    return [
        (statistics.fmean(steps[start : start + width]), statistics.median(values[start : start + width]))
        for start in range(0, len(steps) - width + 1, width)
    ]
