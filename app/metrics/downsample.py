"""Downsample a series while its plot stays the same. Buckets are `width` steps wide and start at multiples of it.

Widths are powers of two, so buckets nest: the extremes of extremes are the extremes of the points, and the points kept
from a full bucket do not change when new points arrive.
"""

from __future__ import annotations

import numpy as np

from app.metrics.points import Points


def width_for(first: int, last: int, buckets: int) -> int:
    """Return the power of two that splits steps `first` to `last` into about `buckets`/2 to `buckets` buckets."""
    span = last - first + 1
    return 1 << max(0, (-(-span // max(1, buckets)) - 1).bit_length())


def extremes(points: Points, width: int) -> Points:
    """Keep each bucket's minimum and maximum (the earliest of equals), all non-finite points, and the last point."""
    if not len(points):
        return points
    finite = np.isfinite(points.values)
    keep = ~finite
    keep[-1] = True
    bucket = points.steps // width
    starts = np.flatnonzero(np.concatenate([[True], bucket[1:] != bucket[:-1]]))
    lengths = np.diff(np.append(starts, len(bucket)))
    for reduce, other in ((np.minimum, np.inf), (np.maximum, -np.inf)):
        values = np.where(finite, points.values, other)
        found = np.flatnonzero(finite & (values == np.repeat(reduce.reduceat(values, starts), lengths)))
        _, earliest = np.unique(bucket[found], return_index=True)
        keep[found[earliest]] = True
    return points.take(np.flatnonzero(keep))
