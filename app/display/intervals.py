"""Intervals of shares: how far an accuracy is known."""

from __future__ import annotations

import math

Z95 = 1.959964


def wilson(right: int, trials: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927). Without trials nothing is known: 0 to 1."""
    if not trials:
        return 0.0, 1.0
    share, z2 = right / trials, Z95 * Z95
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = half_width(share, trials)
    return max(0.0, middle - half), min(1.0, middle + half)


def half_width(share: float, trials: int) -> float:
    """Half of the 95% Wilson interval."""
    z2 = Z95 * Z95
    return Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials)) / (1 + z2 / trials)
