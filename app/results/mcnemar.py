"""McNemar's test: whether two classifiers differ significantly on the same images (McNemar 1947)."""

from __future__ import annotations

import math
from dataclasses import dataclass

SIGNIFICANCE_LEVEL = 0.05
EXACT_BELOW = 25  # discordant pairs: the chi-squared approximation is poor for fewer


@dataclass(frozen=True)
class PairedTest:
    """`only_first` and `only_second` count the discordant pairs: images that only one model classified correctly."""

    only_first: int
    only_second: int
    p: float

    @property
    def differ(self) -> bool:
        return self.p < SIGNIFICANCE_LEVEL


def mcnemar(only_first: int, only_second: int) -> PairedTest:
    """Two-sided test: exact for few discordant pairs, else chi-squared with Edwards' continuity correction."""
    discordant = only_first + only_second
    p = _exact(only_first, only_second) if discordant < EXACT_BELOW else _approximate(only_first, only_second)
    return PairedTest(only_first, only_second, p)


def _exact(first: int, second: int) -> float:
    """Both tails of the binomial distribution with probability 1/2."""
    discordant = first + second
    tail = sum(math.comb(discordant, count) for count in range(min(first, second) + 1))
    return min(1.0, tail / 2.0 ** (discordant - 1))


def _approximate(first: int, second: int) -> float:
    """The upper tail of chi-squared with one degree of freedom, computed from the normal distribution."""
    statistic = max(0, abs(first - second) - 1) ** 2 / (first + second)
    return math.erfc(math.sqrt(statistic / 2))
