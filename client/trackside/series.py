"""The series of a run as the client knows them: their last steps and values, and which series gives their steps."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

from trackside.values import clean, number_of


class Series:
    """One series. `prefix` is its name as a JSON key."""

    __slots__ = ("best", "count", "goal", "last", "name", "prefix", "total", "value")

    def __init__(self, name: str, goal: str) -> None:
        self.name = name
        self.prefix = json.dumps(clean(name)) + ":"
        self.last = -1  # the last step that was logged
        self.value = ""  # the last value, as JSON
        self.goal = goal  # "min", "max" or "mean": what the summary shows besides
        self.best: float | None = None
        self.total = 0.0
        self.count = 0

    def add(self, step: int, value: str) -> None:
        self.last = step
        self.value = value
        if self.goal:
            self._aggregate(number_of(value))

    def _aggregate(self, number: float) -> None:
        if number - number != 0.0:
            return
        self.total += number
        self.count += 1
        better = self.best is None or (number < self.best if self.goal == "min" else number > self.best)
        if better:
            self.best = number

    def aggregate(self) -> float | None:
        return self.total / self.count if self.goal == "mean" and self.count else self.best


class Rules:
    """What `define_metric` has said: for names and patterns, the series of the steps and the summary's figure."""

    def __init__(self) -> None:
        self._axes: dict[str, str] = {}
        self._goals: dict[str, str] = {}
        self.axis_names: list[str] = []

    def define(self, pattern: str, axis: str | None, goal: str) -> None:
        if axis is not None:
            self._axes[pattern] = axis
            self.axis_names.append(axis)
        if goal:
            self._goals[pattern] = goal

    def axis_of(self, name: str) -> str | None:
        return _match(self._axes, name)

    def goal_of(self, name: str) -> str:
        return _match(self._goals, name) or ""


def _match(rules: dict[str, str], name: str) -> str | None:
    """The value of the exact name, else that of the longest pattern that fits."""
    if name in rules:
        return rules[name]
    fitting = [pattern for pattern in rules if fnmatchcase(name, pattern)]
    return rules[max(fitting, key=len)] if fitting else None


def latest_values(known: dict[str, Series]) -> dict[str, Any]:
    return {name: number_of(series.value) for name, series in known.items() if series.value}
