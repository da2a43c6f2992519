"""The axes of parallel coordinates: static/js/chart/parallel.js draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from app.display.formatting import setting
from app.display.labels import setting_label

Value = float | str | None
LOGARITHMIC = ("lr", "weight_decay")  # the ends of the names of settings that are compared by their ratio
WIDE = 50.0  # the ratio of the largest to the smallest value from which any setting is
UNITS = {"minutes": "min", "checkpoint_minutes": "min"}


class Axis(BaseModel):
    """`values` are by run; on an axis of categories they are texts. None: the run has no value (yet)."""

    name: str
    title: str
    unit: str
    scale: Literal["linear", "log", "categories"]
    values: list[Value]


class ParallelRun(BaseModel):
    """`rank`, from 0 for the best, colors the line; None takes the color of the slot."""

    slot: int
    name: str
    rank: int | None = None


class Parallel(BaseModel):
    runs: list[ParallelRun]
    axes: list[Axis]


def setting_axis(field: str, values: Sequence[Any], name: str | None = None) -> Axis:
    """The axis of a setting, called `name` or by its label. Numbers are on a scale; anything else, and numbers of which
    a run has none, are categories."""
    name, title, unit = name or setting_label(field), field, UNITS.get(field, "")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return Axis(name=name, title=title, unit=unit, scale="categories", values=[setting(value) for value in values])
    is_rate = field.endswith(LOGARITHMIC) or max(values) > WIDE * min(values)
    scale: Literal["linear", "log"] = "log" if min(values) > 0 and is_rate else "linear"
    return Axis(name=name, title=title, unit=unit, scale=scale, values=list(values))
