"""The values of a search's next trial, computed anew from all trials so far: the same trials give the same values.

Optuna is imported when it is used. Nothing of its studies is stored: each is made from the trials.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from app.search.requests import Choices, Domain, NewSearch, Range, is_finite, values_of
from app.search.trials import State, Trial
from trainer.spec.preset import takes_integers

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

STARTUP = 5  # trials before tpe learns from them
DIGITS = 4  # significant digits of the numbers that are chosen
SIGMA = 0.25  # of cmaes at first, where each range is from 0 to 1


def own_params(search: NewSearch, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values that the preset and the request themselves give to what is searched, in `settings`.

    None if one of them is outside its range or choices, or the search does not learn from what is tried first.
    """
    found = {name: settings.get(name) for name in search.space}
    is_possible = all(_contains(name, domain, found[name]) for name, domain in search.space.items())
    return found if search.sampler == "tpe" and is_possible else None


def next_params(search: NewSearch, trials: Sequence[Trial], number: int, attempt: int = 0) -> dict[str, Any] | None:
    """The values of trial `number`, by setting; None if there is none, or none until others have ended.

    `attempt` counts the values for it that cannot be trained: others are returned.
    """
    if search.sampler == "grid":
        return _of_grid(search, trials, attempt)
    if search.sampler == "cmaes":
        return _of_cmaes(search, trials, number, attempt)
    study = study_of(search, trials, seed=_seed(search, number, attempt))
    found = study.ask(distributions(search)).params
    return {name: _shown(name, domain, found[name]) for name, domain in search.space.items()}


def study_of(search: NewSearch, trials: Sequence[Trial], seed: int, *, as_complete: bool = False) -> Study:
    """An Optuna study of the trials. `as_complete` counts each trial that has a value as complete."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if search.sampler == "random":
        sampler: Any = optuna.samplers.RandomSampler(seed=seed)
    else:
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=STARTUP, multivariate=len(search.space) > 1, constant_liar=True
        )
    study = optuna.create_study(direction="minimize" if search.minimizes else "maximize", sampler=sampler)
    spaces = distributions(search)
    for trial in trials:
        state, value = _optuna_state(trial, as_complete=as_complete), trial.value
        if state is None:
            continue
        is_complete = state == optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                params={name: _stored(domain, trial.params[name]) for name, domain in search.space.items()},
                distributions=spaces,
                value=value if is_complete else None,
                intermediate_values={} if value is None else {max(1, trial.rung): value},
            )
        )
    return study


def distributions(search: NewSearch) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for name, domain in search.space.items():
        if isinstance(domain, Choices):
            found[name] = CategoricalDistribution(list(range(len(domain.choices))))
        elif takes_integers(name):
            low, high = math.ceil(domain.low), math.floor(domain.high)
            found[name] = IntDistribution(low, high, log=domain.log, step=max(1, round(domain.step or 1)))
        else:
            found[name] = FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
    return found


def _optuna_state(trial: Trial, *, as_complete: bool) -> Any:
    from optuna.trial import TrialState

    if trial.value is None:
        return TrialState.RUNNING if trial.is_active and not as_complete else None
    if as_complete or trial.state == State.COMPLETE:
        return TrialState.COMPLETE
    return TrialState.RUNNING if trial.is_active else TrialState.PRUNED


def _contains(name: str, domain: Domain, value: Any) -> bool:
    if isinstance(domain, Choices) or is_finite(name, domain):
        return value in values_of(name, domain)
    return isinstance(value, int | float) and domain.low <= value <= domain.high


def _stored(domain: Domain, value: Any) -> Any:
    return domain.choices.index(value) if isinstance(domain, Choices) else value


def _shown(name: str, domain: Domain, value: Any) -> Any:
    if isinstance(domain, Choices):
        return domain.choices[value]
    return value if takes_integers(name) or domain.step is not None else _rounded(domain, value)


def _rounded(domain: Range, value: float) -> float:
    return min(domain.high, max(domain.low, float(f"{value:.{DIGITS - 1}e}")))


def _seed(search: NewSearch, number: int, attempt: int = 0) -> int:
    return int(np.random.SeedSequence([search.seed, number, attempt]).generate_state(1)[0])


def _of_grid(search: NewSearch, trials: Sequence[Trial], attempt: int) -> dict[str, Any] | None:
    axes = [values_of(name, domain) for name, domain in search.space.items()]
    combinations = (dict(zip(search.space, values, strict=True)) for values in itertools.product(*axes))
    tried = [trial.params for trial in trials]
    left = (combination for combination in combinations if combination not in tried)
    return next(itertools.islice(left, attempt, None), None)


def _of_cmaes(search: NewSearch, trials: Sequence[Trial], number: int, attempt: int) -> dict[str, Any] | None:
    """Repeats the search from its first generation on, with the values that are known. A generation begins once all
    trials of the one before have ended."""
    from cmaes import CMA

    count = len(search.space)
    optimizer = CMA(np.full(count, 0.5), SIGMA, bounds=np.tile([0.0, 1.0], (count, 1)), seed=_seed(search, 0))
    size = optimizer.population_size
    known = {trial.number: trial for trial in trials}
    sign = 1.0 if search.minimizes else -1.0
    for first in range(0, number - number % size, size):
        points = [optimizer.ask() for _ in range(size)]
        members = [known.get(first + index) for index in range(size)]
        if any(member is None or member.is_active for member in members):
            return None
        values = [sign * member.value for member in members if member is not None and member.value is not None]
        worst = max(values, default=0.0)
        told = [worst if member is None or member.value is None else sign * member.value for member in members]
        optimizer.tell(list(zip(points, told, strict=True)))
    point = [optimizer.ask() for _ in range(1 + number % size)][-1]
    if attempt:
        point = np.random.default_rng(_seed(search, number, attempt)).random(count)
    return {
        name: _from_unit(name, domain, float(share))
        for (name, domain), share in zip(search.space.items(), point, strict=True)
    }


def _from_unit(name: str, domain: Domain, share: float) -> Any:
    assert isinstance(domain, Range)
    if domain.log:
        value = math.exp(math.log(domain.low) + share * (math.log(domain.high) - math.log(domain.low)))
    else:
        value = domain.low + share * (domain.high - domain.low)
    if domain.step is not None:
        value = domain.low + domain.step * round((value - domain.low) / domain.step)
    if takes_integers(name):
        return min(math.floor(domain.high), max(math.ceil(domain.low), round(value)))
    return min(domain.high, value) if domain.step is not None else _rounded(domain, value)
