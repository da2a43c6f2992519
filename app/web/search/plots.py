"""Small plots of a search, in a box of WIDTH × HEIGHT: each trial is a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.display.formatting import metric, number, setting
from app.search.public import TrialPublic
from app.search.requests import Choices, Domain, NewSearch

WIDTH, HEIGHT = 200, 100


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    title: str
    run: str
    state: str


@dataclass(frozen=True)
class Plot:
    """`path` is a line through some of the points, in the box; `left`, `right`, `low` and `high` are the ends of the
    axes as texts."""

    title: str
    points: tuple[Point, ...]
    path: str
    left: str
    right: str
    low: str
    high: str
    note: str = ""

    @property
    def described(self) -> str:
        return (
            f"{len(self.points)} trials; {self.title} from {self.left} to {self.right}, from {self.low} to {self.high}"
        )


def best_so_far(request: NewSearch, trials: Sequence[TrialPublic]) -> Plot | None:
    """The value of each trial in order, and a line of the best one up to then."""
    valued = [trial for trial in trials if trial.value is not None]
    if len(valued) < 2:
        return None
    last = max(1, valued[-1].number)
    scale = _Scale.of([trial.value for trial in valued if trial.value is not None])
    points, path, best = [], "", math.inf if request.minimizes else -math.inf
    for trial in valued:
        assert trial.value is not None
        x = WIDTH * trial.number / last
        points.append(_point(request, trial, x, scale))
        best = min(best, trial.value) if request.minimizes else max(best, trial.value)
        y = scale.at(best)
        path += f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}"
    return Plot("trial", tuple(points), path, "0", str(last), *_ends(request, scale), "the line is the best one so far")


def slices(request: NewSearch, trials: Sequence[TrialPublic]) -> list[tuple[str, Plot]]:
    """For each setting, the value of each trial over that of the setting."""
    valued = [trial for trial in trials if trial.value is not None]
    if len(valued) < 2:
        return []
    scale = _Scale.of([trial.value for trial in valued if trial.value is not None])
    found = []
    for name, domain in request.space.items():
        points = tuple(_point(request, trial, _across(domain, trial.params[name]), scale) for trial in valued)
        left, right, note = _domain_ends(domain)
        found.append((name, Plot(name, points, "", left, right, *_ends(request, scale), note)))
    return found


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> _Scale:
        low, high = min(values), max(values)
        return cls(low, high) if low < high else cls(low - 0.5, high + 0.5)

    def at(self, value: float) -> float:
        return HEIGHT * (1 - (value - self.low) / (self.high - self.low))


def _point(request: NewSearch, trial: TrialPublic, x: float, scale: _Scale) -> Point:
    assert trial.value is not None
    values = ", ".join(f"{name} {setting(value)}" for name, value in trial.params.items())
    title = f"trial {trial.number}, {trial.state}: {metric(request.objective, trial.value)}; {values}"
    return Point(round(x, 1), round(scale.at(trial.value), 1), title, trial.run, trial.state)


def _across(domain: Domain, value: Any) -> float:
    if isinstance(domain, Choices):
        return WIDTH * (domain.choices.index(value) + 0.5) / len(domain.choices)
    if domain.log:
        return WIDTH * math.log(value / domain.low) / math.log(domain.high / domain.low)
    return float(WIDTH * (value - domain.low) / (domain.high - domain.low))


def _domain_ends(domain: Domain) -> tuple[str, str, str]:
    if isinstance(domain, Choices):
        return setting(domain.choices[0]), setting(domain.choices[-1]), ", ".join(map(setting, domain.choices))
    return number(domain.low), number(domain.high), "log" if domain.log else ""


def _ends(request: NewSearch, scale: _Scale) -> tuple[str, str]:
    return metric(request.objective, scale.low), metric(request.objective, scale.high)
