"""The template context of `/results`, with its texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from app.datasets.datasets import Datasets
from app.display.formatting import count, duration, interval, percent, percent_and_interval
from app.results.comparison import MOST_RUNS
from app.results.export import figure, score_text, validation_title
from app.results.ranking import RANKED_BY, Member, ResultRow, ResultTable, finished_datasets, results, script_results
from app.results.reported import ORIGIN
from app.results.reported_here import ReportedHere
from app.runs.projects import projects_of
from app.runs.public import RunPublic, took
from app.storage.db import Database
from app.web.root import root
from trainer.spec.train_spec import SelectBy

ROWS = 50
MOST_ROWS = 500
ROWS_COMPARED = 6


@dataclass(frozen=True)
class ResultLine:
    row: ResultRow
    validation: str
    spread: str
    test: str
    test_interval: str
    test_loss: str
    loss: str
    parameters: str
    time: str
    epochs: str
    members: tuple[MemberLine, ...]

    @property
    def compare(self) -> str:
        """The URL of the comparison of the row's seeds."""
        return root() + "/compare?runs=" + ",".join(member.run.id for member in self.members[:MOST_RUNS])

    @property
    def compared(self) -> str:
        """Which of the row's seeds that is."""
        return "them" if len(self.members) <= MOST_RUNS else f"the best {MOST_RUNS}"


@dataclass(frozen=True)
class MemberLine:
    """A run of a row. `selected` says that the row shows its test metrics; `test` is "" if it has none."""

    run: Member
    validation: str
    test: str
    selected: bool


@dataclass(frozen=True)
class ScriptLine:
    run: RunPublic
    validation: str
    loss: str
    time: str


@dataclass(frozen=True)
class ReportedLine:
    item: ReportedHere
    note: str
    reported: str
    obtained: str

    @property
    def differs(self) -> str:
        return self.item.differs or ("nothing" if self.item.run else "")


@dataclass(frozen=True)
class ResultsPage:
    """`/results`. `table` is None if no run has finished; `datasets` has the number of finished runs per dataset.

    `scripts` are the script runs that logged a validation accuracy, which no dataset of the server says anything of.
    """

    datasets: dict[str, int]
    dataset: str
    table: ResultTable | None
    lines: tuple[ResultLine, ...]
    reported: tuple[ReportedLine, ...]
    by: SelectBy = "acc"
    project: str = ""
    projects: tuple[str, ...] = ()
    scripts: tuple[ScriptLine, ...] = ()
    section: str = "results"

    @property
    def orders(self) -> dict[SelectBy, str]:
        """What rows may be ranked by, and how it is called."""
        return RANKED_BY

    @property
    def column(self) -> str:
        """The head of the column of what rows are ranked by."""
        return validation_title(self.by)

    @property
    def has_numbers_beside(self) -> bool:
        return any(line.item.obtained is not None for line in self.reported)

    @property
    def chance(self) -> str:
        return "" if self.table is None else percent(self.table.chance)

    @property
    def compare_best(self) -> str | None:
        """The URL of the comparison of the best rows' selected runs; None for fewer than two rows."""
        best = [line.row.selected for line in self.lines[:ROWS_COMPARED]]
        return root() + "/compare?runs=" + ",".join(best) if len(best) > 1 else None

    @property
    def more(self) -> str | None:
        """The URL of this page with more rows; None if all are shown."""
        if self.table is None or len(self.lines) >= min(self.table.total, MOST_ROWS):
            return None
        return self.link(limit=str(min(MOST_ROWS, 4 * len(self.lines))))

    def link(self, **query: str) -> str:
        return root() + "/results?" + urlencode({"dataset": self.dataset} | self._order | query)

    def export(self, kind: str) -> str:
        return root() + "/api/results?" + urlencode({"dataset": self.dataset, "format": kind} | self._order)

    @property
    def _order(self) -> dict[str, str]:
        order = {} if self.by == "acc" else {"by": self.by}
        return order | ({"project": self.project} if self.project else {})


def results_page(
    database: Database, records: Datasets, dataset: str | None, limit: int, by: SelectBy = "acc", project: str = ""
) -> ResultsPage:
    """The page's context. Raises ApiError 404 for a dataset that does not exist and has no finished runs."""
    datasets = finished_datasets(database, project)
    shared: dict[str, Any] = {
        "project": project,
        "projects": tuple(projects_of(database)),
        "scripts": tuple(_script_line(run) for run in script_results(database, project, ROWS)),
    }
    chosen = dataset or next(iter(datasets), "")
    if not chosen:
        return ResultsPage(datasets, "", None, (), (), **shared)
    table = results(database, records, chosen, limit, by, project)
    return ResultsPage(
        datasets=datasets,
        dataset=chosen,
        table=table,
        by=by,
        lines=tuple(_line(row, by) for row in table.rows),
        reported=tuple(
            ReportedLine(item, _note(item), figure(item.reported, item.is_share), figure(item.obtained, item.is_share))
            for item in table.reported
        ),
        **shared,
    )


def _script_line(run: RunPublic) -> ScriptLine:
    names = run.spark.get("names") or {}
    loss = run.summary.get(names.get("val") or "")
    return ScriptLine(
        run=run,
        validation=percent(run.best_acc),
        loss=_loss(loss) if isinstance(loss, int | float) else "–",
        time=duration(took(run)) or "–",
    )


def _line(row: ResultRow, by: SelectBy) -> ResultLine:
    return ResultLine(
        row=row,
        validation=score_text(row.mean, by),
        spread=_spread(row, by),
        test=percent(row.test_acc) or "–",
        test_interval=interval(row.test_acc, row.test_count),
        test_loss=_loss(row.test_loss),
        loss=_loss(row.val_loss),
        parameters=count(row.parameters) or "–",
        time=duration(row.seconds) or "–",
        epochs=str(row.epochs) if row.best_epoch is None else f"{row.best_epoch} of {row.epochs}",
        members=tuple(_member(member, row, by) for member in row.members),
    )


def _note(item: ReportedHere) -> str:
    source = "" if item.source == ORIGIN else f"by {item.source}"
    return ", ".join(part for part in (item.note, source) if part)


def _member(member: Member, row: ResultRow, by: SelectBy) -> MemberLine:
    test = percent(member.test_acc)
    return MemberLine(
        run=member,
        validation=percent_and_interval(member.best_acc, member.val_count)
        if by == "acc"
        else score_text(member.score, by),
        test=f"{test}%, loss {_loss(member.test_loss)}" if test else "",
        selected=member.id == row.selected,
    )


def _spread(row: ResultRow, by: SelectBy) -> str:
    """The interval of a single run's accuracy, or the standard deviation over the seeds."""
    if row.sd is None:
        return interval(row.best_acc, row.val_count) if by == "acc" else ""
    return f"± {row.sd:.3f} (n = {row.count})" if by == "loss" else f"± {100 * row.sd:.1f} (n = {row.count})"


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
