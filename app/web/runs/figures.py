"""The figures of a run's summary as one table: a row per metric, a column per evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.display.formatting import metric, metric_name

COLUMNS = {"val/": "Validation, last", "best/": "Validation, best", "test/": "Test", "last/test/": "Test, last weights"}
# Where a checkpoint is, and a second name of best/acc.
LEFT_OUT = ("best/step", "best/val_acc")


@dataclass(frozen=True)
class FigureRow:
    """`title` is the metric's name in the API, without the prefix of its evaluation. `cells` are "" if unknown."""

    label: str
    title: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """`others` are no evaluation's, such as the number of parameters: rows with one cell."""

    columns: tuple[str, ...]
    rows: tuple[FigureRow, ...]
    others: tuple[FigureRow, ...]


def figures_of(summary: Mapping[str, Any]) -> Figures:
    by_column: dict[str, dict[str, Any]] = {prefix: {} for prefix in COLUMNS}
    others = []
    for name, value in summary.items():
        prefix = next((prefix for prefix in COLUMNS if name.startswith(prefix)), None)
        if prefix is None:
            others.append(FigureRow(metric_name(name), name, (_text(name, value),)))
        elif name not in LEFT_OUT:
            by_column[prefix][name.removeprefix(prefix)] = value
    if by_column["last/test/"].items() <= by_column["test/"].items():
        by_column["last/test/"].clear()  # the best weights are the last ones
    shown = {prefix: values for prefix, values in by_column.items() if values}
    names = dict.fromkeys(name for values in shown.values() for name in values)
    rows = tuple(
        FigureRow(metric_name(name), name, tuple(_text(name, values.get(name)) for values in shown.values()))
        for name in names
    )
    return Figures(tuple(COLUMNS[prefix] for prefix in shown), rows, tuple(others))


def _text(name: str, value: Any) -> str:
    return metric(name, value) or ("" if value is None else str(value))
