"""The axes of the parallel coordinates of compared runs: the settings that differ, then the metrics."""

from __future__ import annotations

from collections.abc import Sequence

from app.display.parallel import Axis, Parallel, ParallelRun, Value, setting_axis
from app.results.comparison import Compared, Comparison
from app.storage.tables import Source

MINUTE = 60.0
MOST_AXES = 40


def parallel_of(found: Comparison) -> Parallel:
    runs = found.runs
    names = (
        {}
        if not all(run.source == Source.SCRIPT for run in runs)
        else {item.field: item.field for item in found.settings}
    )
    axes = [
        setting_axis(item.field, [item.values[run.id] for run in runs], names.get(item.field))
        for item in found.settings[:MOST_AXES]
    ]
    return Parallel(runs=[ParallelRun(slot=run.slot, name=run.name) for run in runs], axes=[*axes, *_metric_axes(runs)])


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
