"""A search that continues another one around its best trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from app.errors import ApiError
from app.search.requests import Choices, Domain, NewSearch, Range
from app.search.searches import Search
from app.search.trials import Trial
from trainer.spec.preset import takes_integers

SHARE = 0.2  # of the trials, at least LEAST
LEAST = 3
MARGIN = 0.25  # of the range of the best trials, on each side


def narrowed(search: Search, trials: Sequence[Trial]) -> NewSearch:
    """The request of a search over what the best fifth of the trials span, with a margin. Raises ApiError 409."""
    sign = 1 if search.request.minimizes else -1
    valued = [trial for trial in trials if trial.value is not None]
    best = sorted(valued, key=lambda t: (-t.rung, sign * (t.value or 0.0)))[: max(LEAST, round(SHARE * len(valued)))]
    if len(best) < LEAST:
        raise ApiError(409, "too_few_trials", f"At least {LEAST} trials with a value are needed.")
    space = {
        name: _around(name, domain, [trial.params[name] for trial in best])
        for name, domain in search.request.space.items()
    }
    values = search.request.model_dump(mode="json") | {
        "space": {name: domain.model_dump(mode="json") for name, domain in space.items()},
        "name": f"{search.name}, narrowed"[:200],
        "seed": search.request.seed + 1,
        "until": None,
    }
    return NewSearch.model_validate(values)


def _around(name: str, domain: Domain, values: Sequence[Any]) -> Domain:
    if isinstance(domain, Choices):
        return Choices(choices=[choice for choice in domain.choices if choice in values])
    low, high = min(values), max(values)
    if domain.log:
        grown = (high / low) ** MARGIN if high > low else (domain.high / domain.low) ** (MARGIN / 2)
        low, high = low / grown, high * grown
    else:
        margin = MARGIN * (high - low if high > low else (domain.high - domain.low) / 2)
        low, high = low - margin, high + margin
    low, high = max(domain.low, low), min(domain.high, high)
    if takes_integers(name):
        low, high = math.floor(low), math.ceil(high)
    elif domain.step is not None:
        steps = math.floor((low - domain.low) / domain.step), math.ceil((high - domain.low) / domain.step)
        low, high = (domain.low + step * domain.step for step in steps)
    else:
        low, high = float(f"{low:.3g}"), float(f"{high:.3g}")
    low, high = max(domain.low, low), min(domain.high, high)
    return Range(low=low, high=high, log=domain.log, step=domain.step) if low < high else domain
