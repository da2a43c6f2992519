"""The axes of the parallel coordinates of compared runs: the settings that differ, then the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from app.display.formatting import setting
from app.display.labels import setting_label
from app.results.comparison import Compared, Comparison
from app.storage.tables import Source

Value = float | str | None
LOGARITHMIC = ("lr", "weight_decay")  # the ends of the names of settings that are compared by their ratio
WIDE = 50.0  # the ratio of the largest to the smallest value from which any setting is
UNITS = {"minutes": "min", "checkpoint_minutes": "min"}
MINUTE = 60.0
MOST_AXES = 40


class Axis(BaseModel):
    """`values` are by run; on an axis of categories they are texts. None: the run has no value (yet)."""

    name: str
    title: str
    unit: str
    scale: Literal["linear", "log", "categories"]
    values: list[Value]


class ParallelRun(BaseModel):
    slot: int
    name: str


class Parallel(BaseModel):
    runs: list[ParallelRun]
    axes: list[Axis]


def parallel_of(found: Comparison) -> Parallel:
    runs = found.runs
    is_script = all(run.source == Source.SCRIPT for run in runs)
    axes = [
        _setting_axis(item.field, [item.values[run.id] for run in runs], is_script=is_script)
        for item in found.settings[:MOST_AXES]
    ]
    return Parallel(runs=[ParallelRun(slot=run.slot, name=run.name) for run in runs], axes=[*axes, *_metric_axes(runs)])


def _setting_axis(field: str, values: Sequence[Any], *, is_script: bool) -> Axis:
    """Numbers are on a scale; anything else, and numbers of which a run has none, are categories."""
    name, title, unit = field if is_script else setting_label(field), field, UNITS.get(field, "")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return Axis(name=name, title=title, unit=unit, scale="categories", values=[setting(value) for value in values])
    is_rate = field.endswith(LOGARITHMIC) or max(values) > WIDE * min(values)
    scale: Literal["linear", "log"] = "log" if min(values) > 0 and is_rate else "linear"
    return Axis(name=name, title=title, unit=unit, scale=scale, values=list(values))


def _metric_axes(runs: Sequence[Compared]) -> list[Axis]:
    seconds = [run.seconds for run in runs]
    in_minutes = max((value for value in seconds if value is not None), default=0.0) >= 2 * MINUTE
    length = MINUTE if in_minutes else 1.0
    metrics: list[tuple[str, str, list[Value]]] = [
        ("Duration", "min" if in_minutes else "s", [None if value is None else value / length for value in seconds]),
        ("Validation loss", "at the best epoch", [run.best_loss for run in runs]),
        ("Validation accuracy", "%, best", [None if run.best_acc is None else 100 * run.best_acc for run in runs]),
    ]
    return [
        Axis(name=name, title=name, unit=unit, scale="linear", values=values)
        for name, unit, values in metrics
        if any(value is not None for value in values)
    ]
