"""Seed groups: runs that differ only in their seed, and the mean and spread of their results."""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.runs.public import RunPublic

SEED, NO_TIME_BUDGET = '"seed": ', '"minutes": null'  # the database stores specs as json.dumps writes them
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of `count` results; `sd` is None for a single one."""

    mean: float
    sd: float | None
    count: int


def group_key_and_seed(
    spec_text: str, parent: str | None, parent_step: int | None, epochs: int, total_steps: int | None
) -> tuple[str, int | None]:
    """Return the key of a run's seed group, equal for runs that differ only in their seed, and the seed if any.

    `spec_text` is the spec as the database stores it, so that ten thousand runs are grouped without parsing a spec.
    The key includes the parent and its step, because a branch starts from the parent's weights. It includes the epochs
    and steps, to which a run may have been extended or shortened, except for a run with a time budget: there they
    depend on the machine.
    """
    start = "" if parent_step is None else f"{parent}:{parent_step}"
    length = f"{epochs} {total_steps}" if NO_TIME_BUDGET in spec_text else ""
    position = spec_text.rfind(SEED)
    found = _NUMBER.match(spec_text, position + len(SEED)) if position >= 0 else None
    if found is None:
        return f"{start} {length} {spec_text}", None
    return f"{start} {length} {spec_text[:position]}{spec_text[found.end() :]}", int(found[0])


def grouped(runs: Iterable[RunPublic]) -> list[list[RunPublic]]:
    """Return the runs by seed group, in the order in which each group first appears."""
    groups: dict[str, list[RunPublic]] = defaultdict(list)
    for run in runs:
        origin = run.parent, run.parent_step
        key, _ = group_key_and_seed(json.dumps(run.spec), *origin, run.epochs, run.total_steps)
        groups[key].append(run)
    return list(groups.values())


def spread(values: Sequence[float]) -> Spread | None:
    """Return the mean and sample standard deviation; None without values."""
    if not values:
        return None
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))
