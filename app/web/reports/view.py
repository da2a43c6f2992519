"""The template contexts of reports, and of what share links show: charts and tables of runs between texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.display.formatting import interval, percent
from app.reports.documents import Part, Table, runs_of
from app.reports.store import Report
from app.runs.public import RunPublic
from app.web.runs.columns import Column, cell, column_of
from app.web.runs.rows import MOVING, Row

UNDRAWN = ("curve", "changed")  # columns of the list of runs that are not texts


@dataclass(frozen=True)
class TableRow:
    run: RunPublic
    cells: tuple[tuple[Column, str], ...]


@dataclass(frozen=True)
class TableView:
    """`unknown` are names that are not columns."""

    table: Table
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    unknown: tuple[str, ...]
    kind: str = "runs"


@dataclass(frozen=True)
class Document:
    """Parts to be drawn. `seq` is the number of the last change before they were read."""

    parts: tuple[object, ...]
    is_moving: bool
    seq: int


@dataclass(frozen=True)
class ReportsPage:
    reports: tuple[Report, ...]
    section: str = "results"


@dataclass(frozen=True)
class ReportPage:
    report: Report
    document: Document
    section: str = "results"


@dataclass(frozen=True)
class EditPage:
    """`report` is None for a new one. `fault` says why the text could not be saved."""

    report: Report | None
    title: str = ""
    text: str = ""
    version: int = 0
    fault: str = ""
    section: str = field(default="results", init=False)


def document_view(parts: Sequence[Part], seq: int) -> Document:
    found = runs_of(parts)
    drawn = tuple(_table_view(part) if isinstance(part, Table) else part for part in parts)
    moving = any(run.status in MOVING or run.status == "queued" for run in found.values())
    return Document(drawn, moving, seq)


def _table_view(table: Table) -> TableView:
    columns = {name: column_of(name) for name in table.columns}
    known = tuple(column for column in columns.values() if column is not None and column.id not in UNDRAWN)
    rows = tuple(TableRow(run, tuple((column, _text(run, column)) for column in known)) for run in table.runs)
    unknown = tuple(name for name, column in columns.items() if column is None or column.id in UNDRAWN)
    return TableView(table, known, rows, unknown)


def _text(run: RunPublic, column: Column) -> str:
    match column.kind:
        case "best":
            return f"{percent(run.best_acc) or '–'} {interval(run.best_acc, run.val_count)}".strip()
        case "progress":
            return Row(run).time
        case "tags":
            return ", ".join(run.tags)
        case "time":
            when = getattr(run, f"{column.id}_at")
            return "" if when is None else f"{when:%Y-%m-%d %H:%M} UTC"
        case _:
            return cell(run, column)
