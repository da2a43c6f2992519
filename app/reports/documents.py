"""What a report shows now: its blocks with the runs that they name. A run or a comparison becomes one, to be shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from app.reports.blocks import MOST_LINES, Block, ChartBlock, Prose, TableBlock, XAxis
from app.runs.public import RunPublic
from app.runs.query import RunQuery
from app.runs.runs import Runs

MOST_CHARTS = 24  # of a run
SPLITS = ("train", "val", "valid", "validation", "eval", "test")
USUAL_CHARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Loss", ("train/loss", "val/loss")),
    ("Accuracy", ("train/acc", "val/acc")),
    ("Learning rate", ("lr",)),
)


@dataclass(frozen=True)
class ChartLine:
    """`label` says how the line differs from the others of its chart; `slot` decides its color."""

    run: RunPublic
    series: str
    label: str
    slot: int


@dataclass(frozen=True)
class Chart:
    """`more` are the lines beyond MOST_LINES, which are left out; `missing` the ids of runs that do not exist."""

    title: str
    x: XAxis
    lines: tuple[ChartLine, ...]
    more: int = 0
    missing: tuple[str, ...] = ()
    kind: Literal["chart"] = "chart"


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    runs: tuple[RunPublic, ...]
    missing: tuple[str, ...] = ()
    kind: Literal["runs"] = "runs"


Part = Prose | Chart | Table


def document_of(blocks: Sequence[Block], runs: Runs) -> list[Part]:
    """Return the blocks with their runs as they are now."""
    return [block if isinstance(block, Prose) else _resolved(block, runs) for block in blocks]


def charts_of(run: RunPublic, names: Sequence[str]) -> list[Chart]:
    """Return charts of the run's series, of which those of one metric share a chart; MOST_CHARTS at most."""
    usual = [] if run.is_script else list(USUAL_CHARTS)
    drawn = {name for _, series in usual for name in series}
    groups: dict[str, list[str]] = {}
    for name in names:
        if name not in drawn and len(groups) < MOST_CHARTS:
            groups.setdefault(_metric(name), []).append(name)
    wanted = [(title, tuple(name for name in series if name in names)) for title, series in usual]
    wanted += [(title, tuple(series[:MOST_LINES])) for title, series in groups.items()]
    return [
        Chart(title, _x_of([run], None), _lines([run], series)[:MOST_LINES])
        for title, series in islice(((title, series) for title, series in wanted if series), MOST_CHARTS)
    ]


def chart_over(runs: Mapping[str, RunPublic], title: str, series: str, labels: Mapping[str, str]) -> Chart:
    """Return a chart of one series of several runs, with their labels by id."""
    shown = list(runs.values())[:MOST_LINES]
    lines = tuple(ChartLine(run, series, labels[run.id], slot) for slot, run in enumerate(shown))
    return Chart(title, _x_of(shown, None), lines)


def runs_of(parts: Sequence[Part]) -> dict[str, RunPublic]:
    """Return all runs that the parts show, by id."""
    found: dict[str, RunPublic] = {}
    for part in parts:
        if isinstance(part, Chart):
            found |= {line.run.id: line.run for line in part.lines}
        elif isinstance(part, Table):
            found |= {run.id: run for run in part.runs}
    return found


def _resolved(block: ChartBlock | TableBlock, runs: Runs) -> Chart | Table:
    found = _found(block, runs)
    missing = tuple(name for name in block.runs if name not in found)
    shown = list(found.values())[: block.limit]
    if isinstance(block, TableBlock):
        return Table(block.title, block.columns, tuple(shown), missing)
    lines = _lines(shown, block.series)
    title = block.title or ", ".join(block.series)
    return Chart(title, _x_of(shown, block.x), lines[:MOST_LINES], max(0, len(lines) - MOST_LINES), missing)


def _found(block: ChartBlock | TableBlock, runs: Runs) -> Mapping[str, RunPublic]:
    if block.find is None:
        return runs.some(block.runs)
    return {run.id: run for run in runs.list(RunQuery(q=block.find, sort=block.sort, limit=block.limit)).items}


def _lines(runs: Sequence[RunPublic], series: Sequence[str]) -> tuple[ChartLine, ...]:
    """Return a line per run and series. Their labels are the names of what differs."""
    pairs = [(run, name) for run in runs for name in series]
    return tuple(
        ChartLine(run, name, _label(run, name, len(runs), len(series)), slot) for slot, (run, name) in enumerate(pairs)
    )


def _label(run: RunPublic, series: str, count_runs: int, count_series: int) -> str:
    if count_runs == 1 and count_series > 1:
        return series
    return f"{run.name} · {series}" if count_series > 1 else run.name


def _x_of(runs: Sequence[RunPublic], wanted: XAxis | None) -> XAxis:
    if wanted is not None:
        return wanted
    return "epoch" if runs and all(run.steps_per_epoch for run in runs) else "step"


def _metric(name: str) -> str:
    """The name without the split that it begins or ends with: loss of train/loss, of val_loss and of loss/train."""
    for separator in ("/", "_"):
        first, _, rest = name.partition(separator)
        if rest and first in SPLITS:
            return rest
        head, _, last = name.rpartition(separator)
        if head and last in SPLITS:
            return head
    return name
