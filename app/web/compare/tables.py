"""The tables of `/compare`: how the runs ended, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.display.formatting import count, duration, interval, percent, setting
from app.display.labels import setting_label
from app.results.comparison import Compared, Comparison
from app.storage.tables import Source

MOST_SETTINGS = 300
LONGEST_CELL = 200
INCOMPARABLE_FIELDS = ("dataset", "target")


@dataclass(frozen=True)
class Cell:
    text: str
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class TableRow:
    """A row of a table with one cell per run, in the order of the runs. `title` is the setting's full name."""

    label: str
    cells: tuple[Cell, ...]
    title: str = ""


def are_scripts(runs: Sequence[Compared]) -> bool:
    return bool(runs) and all(run.source == Source.SCRIPT for run in runs)


def _of_scripts(runs: Sequence[Compared]) -> tuple[TableRow, ...]:
    """What is known of script runs: their latest losses, steps and duration."""
    rows = [
        TableRow(label, tuple(Cell(run.latest.get(split) or "–", run.losses.get(split, "")) for run in runs))
        for split, label in (("train", "Training loss, latest"), ("val", "Validation loss, latest"))
        if any(split in run.losses for run in runs)
    ]
    if any(run.best_acc is not None for run in runs):
        rows.append(TableRow("Best validation, %", tuple(Cell(percent(run.best_acc) or "–") for run in runs)))
    rows.append(TableRow("Steps", tuple(Cell(count(run.step)) for run in runs)))
    rows.append(TableRow("Duration", tuple(Cell(duration(run.seconds) or "–") for run in runs), "Pauses included"))
    return tuple(rows)


def outcome_rows(found: Comparison) -> tuple[TableRow, ...]:
    runs = found.runs
    if are_scripts(runs):
        return _of_scripts(runs)
    comparable = len(runs) > 1 and not any(item.field in INCOMPARABLE_FIELDS for item in found.settings)
    best = max((run.best_acc for run in runs if run.best_acc is not None), default=None) if comparable else None
    return (
        TableRow(
            "Best validation, %",
            tuple(
                Cell(
                    percent(run.best_acc) or "–",
                    interval(run.best_acc, run.val_count),
                    best=best is not None and run.best_acc == best,
                )
                for run in runs
            ),
            "Validation accuracy at the best epoch, with its 95% interval",
        ),
        TableRow(
            "At epoch",
            tuple(Cell(_or_dash(run.best_epoch), f"of {run.epochs}" if run.epochs else "") for run in runs),
        ),
        TableRow(
            "Validation loss there",
            tuple(Cell("–" if run.best_loss is None else f"{run.best_loss:.3f}") for run in runs),
        ),
        TableRow("Duration", tuple(Cell(duration(run.seconds) or "–") for run in runs), "Pauses included"),
        TableRow("Parameters", tuple(Cell(count(run.parameters) or "–") for run in runs)),
    )


def setting_rows(found: Comparison) -> tuple[TableRow, ...]:
    return tuple(
        TableRow(
            item.field if are_scripts(found.runs) else setting_label(item.field),
            tuple(Cell(_cut(setting(item.values[run.id]))) for run in found.runs),
            title=item.field,
        )
        for item in found.settings[:MOST_SETTINGS]
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"


def _or_dash(value: int | None) -> str:
    return "–" if value is None else str(value)
