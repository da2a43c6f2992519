"""Launching several runs at once: a grid search over the given values, or a random search with `draw` samples."""

from __future__ import annotations

import itertools
import math
import random
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from app.fields import Integer, Line, RequestBody, Setting
from app.runs.launching import Launcher
from app.runs.naming import member_name
from app.runs.public import RunPublic
from app.runs.requests import NewRun
from trainer.spec.messages import in_words
from trainer.spec.part import FiniteFloat
from trainer.spec.preset import SpecError, flatten, takes_integers

MOST_RUNS = 100
MOST_CHECKED = 1000
MOST_FOLDS = 20
FOLDS, FOLD = "val_folds", "val_fold"
TRIES = 50  # per sample, until a combination is found that was not drawn yet


# So that the difference of two bounds is a finite number.
Bound = Annotated[FiniteFloat, Field(ge=-1e18, le=1e18)]


class Between(RequestBody):
    """A range to sample from: log-uniformly if it spans a factor of 10 or more, as rates do; else uniformly."""

    low: Bound
    high: Bound

    @model_validator(mode="after")
    def grows(self) -> Between:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self

    @property
    def scale(self) -> Literal["log", "linear"]:
        return "log" if self.low > 0 and self.high >= 10 * self.low else "linear"

    def ends(self, *, integer: bool) -> list[int | float]:
        return [math.ceil(self.low), math.floor(self.high)] if integer else [self.low, self.high]

    def draw(self, rng: random.Random, *, integer: bool) -> int | float:
        """Draw an integer, for settings that take no other numbers, or a number with two significant digits."""
        if self.scale == "log":
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        if integer:
            least, most = self.ends(integer=True)
            return min(most, max(least, round(value)))
        return min(self.high, max(self.low, float(f"{value:.1e}")))


Values = Annotated[list[Setting], Field(min_length=1, max_length=MOST_RUNS)]


_VARY: TypeAdapter[dict[str, list[Any] | Between]] = TypeAdapter(dict[str, Values | Between])


class NewVariants(NewRun):
    """`vary` gives values, or a range, per setting; `draw` is the number of random combinations, by default all.

    `folds` is that of a cross-validation: each combination is trained once per fold.
    """

    vary: Annotated[dict[Line, Values | Between], Field(max_length=20)] = Field({})
    draw: Integer | None = Field(None, ge=1, le=MOST_RUNS)
    folds: Integer | None = Field(None, ge=2, le=MOST_FOLDS)

    @model_validator(mode="after")
    def varies(self) -> NewVariants:
        if not self.vary and self.folds is None:
            raise ValueError("give the values of a setting in vary, or folds")
        return self


class Variants(RequestBody):
    group: str
    runs: list[RunPublic]


def combinations(
    vary: Mapping[str, Sequence[Any] | Between], draw: int | None, rng: random.Random
) -> list[dict[str, Any]]:
    """Return the overrides of each variant. Raises SpecError: a range without `draw`, or more than MOST_RUNS runs."""
    if draw is not None:
        folds = vary.get(FOLD, [])
        if isinstance(folds, Between) or not folds:
            return _drawn(vary, draw, rng)
        drawn = _drawn({name: given for name, given in vary.items() if name != FOLD}, draw, rng)
        if len(drawn) * len(folds) > MOST_RUNS:
            raise SpecError({f"overrides.{FOLDS}": f"these make more than {MOST_RUNS} runs"})
        return [values | {FOLD: fold} for values in drawn for fold in folds]
    ranges = {name: "set the number of random samples" for name, given in vary.items() if isinstance(given, Between)}
    if ranges:
        raise SpecError({f"overrides.{name}": reason for name, reason in ranges.items()})
    lists = {name: _distinct(given) for name, given in vary.items() if not isinstance(given, Between)}
    if math.prod(map(len, lists.values())) > MOST_RUNS:
        raise SpecError({f"overrides.{name}": f"these make more than {MOST_RUNS} runs" for name in lists})
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def all_folds(overrides: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What to vary so that each fold of a cross-validation is held out once; nothing if one fold is chosen, or none."""
    count = overrides.get(FOLDS)
    if not isinstance(count, int) or not 2 <= count <= MOST_FOLDS or overrides.get(FOLD) is not None:
        return {}
    return {FOLD: list(range(1, count + 1))}


def possible(vary: Mapping[str, Sequence[Any] | Between], chosen: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The variants to check before any is queued: those chosen, and others that a random search might choose instead.

    The others are made of the values and of the ends of the ranges; there are at most MOST_CHECKED.
    """
    yield from chosen
    ends = {
        name: given.ends(integer=takes_integers(name)) if isinstance(given, Between) else given
        for name, given in vary.items()
    }
    others = (dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values()))
    yield from (one for one in itertools.islice(others, MOST_CHECKED) if one not in chosen)


def checked_vary(vary: Mapping[str, Any]) -> dict[str, list[Any] | Between]:
    """Validate `vary` as in a request's body. Raises SpecError with the settings that are invalid."""
    try:
        return _VARY.validate_python(vary)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise SpecError({f"overrides.{item['loc'][0]}": in_words(item) for item in found}) from None


def _drawn(vary: Mapping[str, Sequence[Any] | Between], draw: int, rng: random.Random) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for _ in range(draw * TRIES):
        variant = {
            name: given.draw(rng, integer=takes_integers(name))
            if isinstance(given, Between)
            else rng.choice(list(given))
            for name, given in vary.items()
        }
        if variant not in found:
            found.append(variant)
        if len(found) == draw:
            break
    return found


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [value for index, value in enumerate(values) if value not in values[:index]]


def launch_variants(launcher: Launcher, request: NewVariants) -> Variants:
    """Queue all variants as one group. If one of them is invalid, none is queued. Raises SpecError."""
    overrides, vary = request.overrides, request.vary
    if request.folds is not None:
        overrides = {**overrides, FOLDS: request.folds}
        vary = {**vary, **all_folds({FOLDS: request.folds})}
    chosen = combinations(vary, request.draw, random.Random())
    common = request.model_dump(include={"dataset", "preset", "project", "tags", "expectation", "priority"})
    group = request.group or f"{request.name or request.preset} {_axes(vary)} {secrets.token_hex(2)}"

    def variant(values: dict[str, Any]) -> NewRun:
        return NewRun(**common, group=group[:200], overrides={**overrides, **values})

    for values in possible(vary, chosen):
        launcher.prepare(variant(values))
    ready = []
    for values in chosen:
        new = variant(values)
        plan = launcher.prepare(new)
        settings = flatten(plan.spec)
        name = member_name({field: settings[field] for field in vary}, request.name or request.preset)
        ready.append((new.model_copy(update={"name": name}), plan))
    return Variants(group=group[:200], runs=[launcher.queue(new, plan) for new, plan in ready])


def _axes(vary: Mapping[str, Any]) -> str:
    names = (
        f"{len(given)} folds" if name == FOLD and isinstance(given, list) else name.rsplit(".", 1)[-1]
        for name, given in vary.items()
    )
    return " × ".join(names)
