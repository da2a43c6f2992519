"""The runs of `/compare` in groups of seeds, and in pairs that were tested on the same images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.display.formatting import percent
from app.results.comparison import Compared, PairedComparison, SeedGroup


@dataclass(frozen=True)
class GroupLine:
    runs: tuple[Compared, ...]
    mean: str
    members: str


@dataclass(frozen=True)
class PairLine:
    first: Compared
    second: Compared
    verdict: str
    not_significant: bool
    p: str
    only_first: int
    only_second: int
    images: int


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def group_line(group: SeedGroup, by_id: dict[str, Compared]) -> GroupLine:
    runs = tuple(by_id[run_id] for run_id in group.runs)
    mean = percent(group.mean) or "–"
    deviation = "" if group.sd is None else f" ± {100 * group.sd:.1f}"
    return GroupLine(runs, mean, f"{deviation} (n = {group.count})")


def pair_line(pair: PairedComparison, by_id: dict[str, Compared]) -> PairLine:
    """The pair with the better run first: the one that is right alone on more images."""
    assert pair.p is not None
    assert pair.only_first is not None
    assert pair.only_second is not None
    ends = (pair.first, pair.only_first), (pair.second, pair.only_second)
    (first, more), (second, fewer) = sorted(ends, key=lambda end: end[1], reverse=True)
    not_significant = pair.verdict == "cannot tell apart"
    return PairLine(
        first=by_id[first],
        second=by_id[second],
        verdict="not significant" if not_significant else "is better than",
        not_significant=not_significant,
        p=p_value(pair.p),
        only_first=more,
        only_second=fewer,
        images=pair.images,
    )


def untested_reasons(pairs: Iterable[PairedComparison]) -> tuple[tuple[str, int], ...]:
    """The reasons why pairs were not tested, each with its number of pairs."""
    counts: dict[str, int] = {}
    for pair in pairs:
        if pair.verdict is None:
            counts[pair.reason] = counts.get(pair.reason, 0) + 1
    return tuple(counts.items())
