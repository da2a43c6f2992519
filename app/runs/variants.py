"""Several runs at once: every combination of the values given for some settings, or so many drawn at random."""

from __future__ import annotations

import itertools
import math
import random
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from app.fields import Line, RequestBody, Setting
from app.runs.launching import Launcher
from app.runs.naming import default_name
from app.runs.public import RunPublic
from app.runs.requests import NewRun
from trainer.spec.preset import SpecError, build_spec, differences
from trainer.spec.train_spec import FiniteFloat

MOST_RUNS = 100
TRIES = 50  # for each draw, before giving up on finding one that was not drawn yet


class Between(RequestBody):
    """A range to draw from: evenly in the logarithm where it spans a factor of ten or more, rates above all."""

    low: FiniteFloat
    high: FiniteFloat

    @model_validator(mode="after")
    def grows(self) -> Between:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self

    @property
    def scale(self) -> Literal["log", "linear"]:
        return "log" if self.low > 0 and self.high >= 10 * self.low else "linear"

    def draw(self, chance: random.Random) -> int | float:
        """Whole numbers between whole numbers, else two digits."""
        if self.scale == "log":
            value = math.exp(chance.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = chance.uniform(self.low, self.high)
        if float(self.low).is_integer() and float(self.high).is_integer() and self.high - self.low >= 1:
            return round(value)
        return min(self.high, max(self.low, float(f"{value:.1e}")))


Values = Annotated[list[Setting], Field(min_length=1, max_length=MOST_RUNS)]


_VARY: TypeAdapter[dict[str, list[Any] | Between]] = TypeAdapter(dict[str, Values | Between])


class NewVariants(NewRun):
    """`vary` gives values, or a range, for settings; `draw` takes so many combinations at random, not all."""

    vary: Annotated[dict[Line, Values | Between], Field(min_length=1, max_length=20)]
    draw: int | None = Field(None, ge=1, le=MOST_RUNS)


class Variants(RequestBody):
    group: str
    runs: list[RunPublic]


def combinations(
    vary: Mapping[str, Sequence[Any] | Between], draw: int | None, chance: random.Random
) -> list[dict[str, Any]]:
    """The overrides of each variant. Raises SpecError for a range without draws, and for more than MOST_RUNS."""
    if draw is not None:
        return _drawn(vary, draw, chance)
    ranges = {name: "a range is drawn from: say how many" for name, given in vary.items() if isinstance(given, Between)}
    if ranges:
        raise SpecError({f"overrides.{name}": reason for name, reason in ranges.items()})
    lists = {name: _distinct(given) for name, given in vary.items() if not isinstance(given, Between)}
    if math.prod(map(len, lists.values())) > MOST_RUNS:
        raise SpecError({f"overrides.{name}": f"these make more than {MOST_RUNS} runs" for name in lists})
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def checked_vary(vary: Mapping[str, Any]) -> dict[str, list[Any] | Between]:
    """As a request's body would be checked. Raises SpecError, naming the settings."""
    try:
        return _VARY.validate_python(vary)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise SpecError({f"overrides.{item['loc'][0]}": item["msg"] for item in found}) from None


def _drawn(vary: Mapping[str, Sequence[Any] | Between], draw: int, chance: random.Random) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for _ in range(draw * TRIES):
        one = {
            name: given.draw(chance) if isinstance(given, Between) else chance.choice(list(given))
            for name, given in vary.items()
        }
        if one not in found:
            found.append(one)
        if len(found) == draw:
            break
    return found


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [value for index, value in enumerate(values) if value not in values[:index]]


def launch_variants(launcher: Launcher, request: NewVariants) -> Variants:
    """Queue them all as one group, or, if one of them cannot be, none. Raises SpecError."""
    chosen = combinations(request.vary, request.draw, random.Random())
    base = build_spec(request.dataset, request.preset, request.overrides)
    common = request.model_dump(include={"dataset", "preset", "tags", "expectation", "priority"})
    group = request.group or f"{request.name or request.preset} {_axes(request.vary)} {secrets.token_hex(2)}"
    ready = []
    for values in chosen:
        new = NewRun(**common, group=group[:200], overrides={**request.overrides, **values})
        plan = launcher.prepare(new)
        if request.name:
            new = new.model_copy(update={"name": default_name(differences(plan.spec, base), request.name)})
        ready.append((new, plan))
    return Variants(group=group[:200], runs=[launcher.queue(new, plan) for new, plan in ready])


def _axes(vary: Mapping[str, Any]) -> str:
    return " × ".join(name.rsplit(".", 1)[-1] for name in vary)
