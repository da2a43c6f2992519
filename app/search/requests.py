"""Request bodies about searches."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from app.fields import Integer, Line, Overrides, RequestBody, Setting, Tags
from trainer.spec.part import FiniteFloat
from trainer.spec.preset import takes_integers

MOST_TRIALS = 10_000
MOST_CHOICES = 1000
DEFAULT_TRIALS = 30
LOSSES = ("loss", "log_loss")

Bound = Annotated[FiniteFloat, Field(ge=-1e18, le=1e18)]


class Range(RequestBody):
    """Numbers from `low` to `high`, whole ones for settings that take no others; `log` draws small ones as often as
    large ones, as learning rates need it."""

    low: Bound
    high: Bound
    log: bool = False
    step: Bound | None = Field(None, gt=0)

    @model_validator(mode="after")
    def fits(self) -> Range:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range must be above 0")
        if self.log and self.step is not None:
            raise ValueError("a logarithmic range has no step")
        return self


class Choices(RequestBody):
    choices: list[Setting] = Field(min_length=1, max_length=MOST_CHOICES)


Domain = Range | Choices


def _objective(name: str) -> str:
    if name.startswith("test/"):
        raise ValueError("the test split is looked at once, for the best trial: choose one of the validation split")
    if not name.startswith("val/"):
        raise ValueError("must be a figure of the validation split, such as val/acc")
    return name


class NewSearch(RequestBody):
    """A search tries values of the settings in `space` until one of its limits is reached: `trials`, `device_minutes`
    of training, or the time `until`."""

    dataset: Line
    preset: Line
    name: Line | None = None
    tags: Tags = Field([])
    overrides: Overrides = Field({})
    space: Annotated[dict[Line, Domain], Field(min_length=1, max_length=20)]
    sampler: Literal["tpe", "random", "grid", "cmaes"] = Field(
        "tpe",
        description="How values are chosen: tpe learns from earlier trials, cmaes too, for many numbers; random and "
        "grid do not.",
    )
    pruner: Literal["asha", "median", "none"] = Field(
        "asha",
        description="Which trials are trained to their end: with asha those that are among the best third after each "
        "of several numbers of epochs; median stops those that are worse than the median of the others.",
    )
    objective: Annotated[Line, AfterValidator(_objective)] = "val/acc"
    trials: Integer | None = Field(None, ge=1, le=MOST_TRIALS)
    device_minutes: FiniteFloat | None = Field(None, gt=0, le=1e6)
    until: datetime | None = None
    seed: Integer = Field(0, ge=0, lt=2**31)

    @model_validator(mode="after")
    def ends(self) -> NewSearch:
        if self.sampler == "grid" and (continuous := [n for n, d in self.space.items() if not is_finite(n, d)]):
            raise ValueError(f"a grid needs choices or a step for {', '.join(continuous)}")
        numbers = [name for name, domain in self.space.items() if isinstance(domain, Range)]
        if self.sampler == "cmaes" and (len(numbers) < len(self.space) or len(numbers) < 2):
            raise ValueError("cmaes needs ranges of at least two settings, and no choices")
        if self.until is not None and self.until.tzinfo is None:
            raise ValueError("until needs a time zone, such as 2026-05-01T08:00:00Z")
        if self.trials is None and self.device_minutes is None and self.until is None:
            size = grid_size(self.space) if self.sampler == "grid" else DEFAULT_TRIALS
            self.trials = min(MOST_TRIALS, size)
        return self

    @property
    def minimizes(self) -> bool:
        return self.objective.removeprefix("val/") in LOSSES


class MoreTrials(RequestBody):
    """What a search that has ended, or was stopped, may use in addition."""

    trials: Integer = Field(0, ge=0, le=MOST_TRIALS)
    device_minutes: FiniteFloat = Field(0.0, ge=0, le=1e6)


def is_finite(name: str, domain: Domain) -> bool:
    return isinstance(domain, Choices) or domain.step is not None or takes_integers(name)


def values_of(name: str, domain: Domain) -> list[Any]:
    """All values of a finite domain, in order."""
    if isinstance(domain, Choices):
        return list(domain.choices)
    if takes_integers(name):
        return list(range(math.ceil(domain.low), math.floor(domain.high) + 1, max(1, round(domain.step or 1))))
    assert domain.step is not None
    return [
        domain.low + index * domain.step for index in range(1 + int((domain.high - domain.low) / domain.step + 1e-9))
    ]


def grid_size(space: dict[str, Domain]) -> int:
    return math.prod(len(values_of(name, domain)) for name, domain in space.items())
