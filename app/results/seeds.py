"""Runs that differ in nothing but their seed, and what they come to together."""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.runs.public import RunPublic

SEED, BY_EPOCHS = '"seed": ', '"minutes": null'  # as json.dumps writes them, and so the database
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Spread:
    """Mean and sample deviation of what `count` runs obtained; no deviation of a single one."""

    mean: float
    sd: float | None
    count: int


def recipe(spec_text: str, parent: str | None, parent_step: int | None, epochs: int) -> tuple[str, int | None]:
    """What two runs share if nothing but the seed tells them apart, and the seed.

    The spec is taken as the text that it is stored as: ten thousand are grouped without parsing one. A branch begins
    with its parent's weights. Of a run by epochs, those that it was extended or cut to count; a budget of minutes
    comes to as many as the machine makes of it.
    """
    start = "" if parent_step is None else f"{parent}:{parent_step}"
    length = str(epochs) if BY_EPOCHS in spec_text else ""
    place = spec_text.rfind(SEED)
    found = _NUMBER.match(spec_text, place + len(SEED)) if place >= 0 else None
    if found is None:
        return f"{start} {length} {spec_text}", None
    return f"{start} {length} {spec_text[:place]}{spec_text[found.end() :]}", int(found[0])


def grouped(runs: Iterable[RunPublic]) -> list[list[RunPublic]]:
    """The runs by recipe, in the order in which each recipe first comes."""
    groups: dict[str, list[RunPublic]] = defaultdict(list)
    for run in runs:
        groups[recipe(json.dumps(run.spec), run.parent, run.parent_step, run.epochs)[0]].append(run)
    return list(groups.values())


def spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))
