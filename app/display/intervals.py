"""Confidence intervals of proportions, such as an accuracy."""

from __future__ import annotations

import math

Z95 = 1.959964


def wilson(correct: float, trials: int) -> tuple[float, float]:
    """The 95% score interval of `correct` out of `trials` (Wilson 1927), as fractions; (0, 1) without trials.

    The interval is not centered at `correct / trials`.
    """
    if not trials:
        return 0.0, 1.0
    fraction, z2 = correct / trials, Z95 * Z95
    center = (fraction + z2 / (2 * trials)) / (1 + z2 / trials)
    half = half_width(fraction, trials)
    return max(0.0, center - half), min(1.0, center + half)


def half_width(fraction: float, trials: int) -> float:
    """Half the width of the 95% Wilson interval of a fraction, as a fraction. `trials` must not be 0."""
    z2 = Z95 * Z95
    return Z95 * math.sqrt(fraction * (1 - fraction) / trials + z2 / (4 * trials * trials)) / (1 + z2 / trials)
