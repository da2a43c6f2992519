"""A search in the form of the API."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.search.requests import NewSearch
from app.search.sampling import study_of
from app.search.searches import Search, SearchStatus, best_of
from app.search.trials import State, Trial

LEAST_TRIALS = 4  # with a value, before it is said what matters
MOST_COMPUTED = 100

_computed: dict[int, dict[str, float]] = {}  # importances, by what they depend on: a page asks again and again


class TrialPublic(BaseModel):
    run: str
    name: str
    number: int
    params: dict[str, Any]
    value: float | None = Field(description="The best value of the objective so far.")
    state: State
    rung: int = Field(description="The rungs that it has reached.")
    step: int
    total_steps: int


class SearchSummary(BaseModel):
    id: str
    name: str
    status: SearchStatus
    error: str | None
    created_at: datetime
    request: NewSearch
    trials_limit: int | None
    device_minutes_limit: float | None


class SearchPublic(SearchSummary):
    device_minutes: float = Field(description="What the trials have been trained for so far.")
    trials: list[TrialPublic]
    best: TrialPublic | None = Field(description="The best trial among those that were trained furthest.")
    winner: str | None = Field(description="The run that was tested, once the search has finished.")
    importance: dict[str, float] | None = Field(
        description="How much each setting matters to the objective, as shares of one; null for too few trials."
    )


def summary_of(search: Search) -> SearchSummary:
    return SearchSummary(**_common(search))


def public_of(search: Search, trials: Sequence[Trial], *, with_importance: bool = True) -> SearchPublic:
    best = best_of(trials, minimizes=search.request.minimizes)
    return SearchPublic(
        **_common(search),
        device_minutes=round(sum(trial.seconds for trial in trials) / 60, 3),
        trials=[trial_public(trial) for trial in trials],
        best=None if best is None else trial_public(best),
        winner=search.winner,
        importance=importance(search.request, trials) if with_importance else None,
    )


def _common(search: Search) -> dict[str, Any]:
    return {
        "id": search.id,
        "name": search.name,
        "status": search.status,
        "error": search.error,
        "created_at": search.created_at,
        "request": search.request,
        "trials_limit": search.trials,
        "device_minutes_limit": search.device_minutes,
    }


def trial_public(trial: Trial) -> TrialPublic:
    return TrialPublic(
        run=trial.run,
        name=trial.name,
        number=trial.number,
        params=trial.params,
        value=trial.value,
        state=trial.state,
        rung=trial.rung,
        step=trial.step,
        total_steps=trial.rungs[-1],
    )


def importance(request: NewSearch, trials: Sequence[Trial]) -> dict[str, float] | None:
    """What Optuna's PED-ANOVA says of each setting: how differently the best tenth of the trials are distributed."""
    valued = tuple(trial for trial in trials if trial.value is not None)
    if len(valued) < LEAST_TRIALS or len({trial.value for trial in valued}) == 1:
        return None
    key = hash((request.model_dump_json(), tuple((trial.run, trial.value) for trial in valued)))
    if key not in _computed:
        while len(_computed) >= MOST_COMPUTED:
            _computed.pop(next(iter(_computed)))
        _computed[key] = _importance(request, valued)
    return _computed[key]


def _importance(request: NewSearch, valued: Sequence[Trial]) -> dict[str, float]:
    import optuna

    study = study_of(request, valued, seed=0, as_complete=True)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: round(share, 4) if math.isfinite(share) else 0.0 for name, share in found.items()}
