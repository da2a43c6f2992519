"""Rank a dataset's finished runs by a figure of their best validation, one row per seed group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, String, cast, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.datasets.datasets import Datasets
from app.display.formatting import changes_text
from app.display.intervals import half_width
from app.errors import not_found
from app.results.outcomes import half_width_of, losses_at_best, parameters_of, seconds_of, summary_number
from app.results.reported_here import ReportedHere, reported_here
from app.results.seeds import group_key_and_seed, spread
from app.runs.public import RunPublic, public
from app.runs.query import rows_by_key
from app.storage.db import Database
from app.storage.tables import Run, RunValue, Source, Status, ValueName
from trainer.data.format import DatasetRecord
from trainer.spec.train_spec import SelectBy

MOST_RUNS = 20_000
MOST_MEMBERS = 20


# By which figure of the best validation rows are ranked, and what it is called.
RANKED_BY: dict[SelectBy, str] = {
    "acc": "accuracy",
    "balanced_acc": "balanced accuracy",
    "macro_f1": "macro F1",
    "auc": "area under the ROC curve",
    "loss": "loss",
}


class Member(BaseModel):
    """A run of a row. The test figures are for who asks: choosing among them makes them worthless."""

    id: str
    name: str
    seed: int | None
    score: float
    best_acc: float | None
    half_width: float | None
    val_count: int | None = Field(exclude=True)  # for the interval that the pages show
    test_acc: float | None
    test_loss: float | None


class ResultRow(BaseModel):
    """One recipe. `selected`, on which all figures but mean and sd are, is its run with the best validation.

    `mean`, `sd` and `score` are of the figure that the table is ranked by.
    """

    rank: int
    model: str
    preset: str | None
    changed: str = Field(description="What differs from the preset or the parent, in words.")
    mean: float = Field(
        description="The figure ranked by, of the best validation (accuracies from 0 to 1): the mean over the seeds."
    )
    sd: float | None = Field(description="Sample deviation over the seeds; null for a single run.")
    count: int = Field(description="How many runs: seeds of the same recipe.")
    selected: str
    name: str
    score: float
    best_acc: float | None
    half_width: float | None = Field(description="Half of the 95% Wilson interval of best_acc.")
    val_count: int | None = Field(exclude=True)  # for the interval that the pages show
    best_epoch: int | None
    epochs: int
    val_loss: float | None = Field(description="At the best epoch.")
    test_acc: float | None
    test_half_width: float | None
    test_count: int = Field(exclude=True)  # for the interval that the pages show
    test_loss: float | None
    parameters: int | None
    seconds: float | None
    members: list[Member] = Field(description="At most 20, the best first.")


class ResultTable(BaseModel):
    dataset: str
    by: SelectBy = Field(description="The figure of the best validation that the rows are ranked by.")
    rows: list[ResultRow]
    total: int = Field(description="How many rows there are.")
    unranked: int = Field(description="Finished runs without this figure.")
    chance: float | None
    reported: list[ReportedHere]


class Candidate(NamedTuple):
    key: int
    score: float
    group_key: str
    seed: int | None


def finished_datasets(database: Database, project: str = "") -> dict[str, int]:
    """Return the number of finished runs per dataset, the dataset of the latest run first."""
    with database.read() as session:
        rows = session.exec(
            select(Run.dataset, func.count(), func.max(Run.finished_at))
            .where(Run.status == Status.FINISHED, Run.source == Source.TRACKSIDE, *of_project(project))
            .group_by(Run.dataset)
            .order_by(func.max(Run.finished_at).desc())
        ).all()
    return {name: number for name, number, _ in rows}


def results(
    database: Database, datasets: Datasets, dataset: str, limit: int, by: SelectBy = "acc", project: str = ""
) -> ResultTable:
    """Rank the seed groups of `dataset`, at most `limit`; with `project`, of its runs alone.

    Raises ApiError 404 if neither the dataset nor a finished run on it exists.
    """
    record = datasets.find(dataset)
    with database.read() as session:
        candidates, unranked = _candidates(session, dataset, by, project)
        if record is None and not candidates and not unranked:
            raise not_found("dataset", dataset)
        groups = _ranked(candidates, by)
        shown = groups[:limit]
        selected = _selected(session, [group[0].key for group in shown])
        losses = losses_at_best(session, [run.id for run in selected.values()])
        members = _members(session, shown)
    rows = [
        _row(rank, group, selected[group[0].key], losses, members, record)
        for rank, group in enumerate(shown, start=1)
        if group[0].key in selected  # the run may have been deleted between two queries
    ]
    return ResultTable(
        dataset=dataset,
        by=by,
        rows=rows,
        total=len(groups),
        unranked=unranked,
        chance=None if record is None else 1 / len(record.classes),
        reported=reported_here(database, dataset, record),
    )


def _candidates(session: Session, dataset: str, by: SelectBy, project: str) -> tuple[list[Candidate], int]:
    """Return the finished runs with the figure, the best first, and the number of those without it.

    The specs stay text. The runs are sorted here, because SQLite would carry every spec through its sorter.
    """
    score: Any = col(Run.best_acc)
    if by != "acc":
        score = (
            select_columns(col(RunValue.number))
            .join(ValueName, col(ValueName.key) == col(RunValue.name))
            .where(col(RunValue.run) == col(Run.key), col(ValueName.name) == f"best/{by}")
            .scalar_subquery()
        )
    columns = col(Run.key), score, cast(col(Run.spec), String)
    group_columns = col(Run.parent), col(Run.parent_step), col(Run.epochs), col(Run.total_steps)
    statement = (
        select_columns(*columns, *group_columns)
        .where(col(Run.dataset) == dataset, col(Run.status) == Status.FINISHED, *of_project(project))
        .where(col(Run.source) == Source.TRACKSIDE)
        .order_by(col(Run.key).desc())
        .limit(MOST_RUNS)
    )
    rows = session.connection().execute(statement).all()
    found = [
        Candidate(key, score, *group_key_and_seed(spec, parent, parent_step, epochs, total_steps))
        for key, score, spec, parent, parent_step, epochs, total_steps in rows
        if key is not None and score is not None
    ]
    return sorted(found, key=lambda item: (_order(item.score, by), item.key)), len(rows) - len(found)


def of_project(project: str) -> list[ColumnElement[bool]]:
    """Return the condition for the runs of a project; none for all runs."""
    return [col(Run.project) == project] if project else []


def script_results(database: Database, project: str, limit: int) -> list[RunPublic]:
    """Return the finished script runs that logged a validation accuracy (`val/acc`), the best first."""
    with database.read() as session:
        rows = session.exec(
            select(Run)
            .where(Run.source == Source.SCRIPT, Run.status == Status.FINISHED, *of_project(project))
            .where(col(Run.best_acc).is_not(None))
            .order_by(col(Run.best_acc).desc(), col(Run.key))
            .limit(limit)
        ).all()
    return [public(row) for row in rows]


def _order(score: float, by: SelectBy) -> float:
    return score if by == "loss" else -score


def _ranked(candidates: Sequence[Candidate], by: SelectBy) -> list[list[Candidate]]:
    """Return the seed groups, the best mean first: the maximum would favor groups of many seeds."""
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for item in candidates:
        groups[item.group_key].append(item)
    return sorted(groups.values(), key=lambda group: _order(sum(item.score for item in group) / len(group), by))


def _selected(session: Session, keys: Sequence[int]) -> dict[int, RunPublic]:
    rows = rows_by_key(session, keys)
    return {row.key: public(row) for row in rows if row.key is not None}


def _members(session: Session, groups: Sequence[Sequence[Candidate]]) -> dict[int, Member]:
    """Return, by key, the runs of the seed groups that have several; at most MOST_MEMBERS per group."""
    listed = {item.key: item for group in groups if len(group) > 1 for item in group[:MOST_MEMBERS]}
    columns = col(Run.key), col(Run.id), col(Run.name), col(Run.best_acc), col(Run.val_count), col(Run.summary)
    rows = session.connection().execute(select_columns(*columns).where(col(Run.key).in_(listed)))
    return {
        key: Member(
            id=run_id,
            name=name,
            seed=listed[key].seed,
            score=listed[key].score,
            best_acc=best_acc,
            half_width=half_width(best_acc, trials) if trials and best_acc is not None else None,
            val_count=trials,
            test_acc=summary.get("test/acc"),
            test_loss=summary.get("test/loss"),
        )
        for key, run_id, name, best_acc, trials, summary in rows
    }


def _row(
    rank: int,
    group: Sequence[Candidate],
    run: RunPublic,
    losses: dict[str, float],
    members: dict[int, Member],
    record: DatasetRecord | None,
) -> ResultRow:
    found = spread([item.score for item in group])
    assert found is not None
    test_acc = summary_number(run, "test/acc")
    test_count = 0 if record is None or record.sha256 != run.train_spec.dataset.sha256 else record.test_count
    return ResultRow(
        rank=rank,
        model=run.model,
        preset=run.preset,
        changed=changes_text(item for item in run.changed if item["field"] != "seed"),
        mean=found.mean,
        sd=found.sd,
        count=found.count,
        selected=run.id,
        name=run.name,
        score=group[0].score,
        best_acc=run.best_acc,
        half_width=half_width_of(run),
        val_count=run.val_count,
        best_epoch=run.best_epoch,
        epochs=run.epochs,
        val_loss=losses.get(run.id),
        test_acc=test_acc,
        test_half_width=half_width(test_acc, test_count) if test_count and test_acc is not None else None,
        test_count=test_count,
        test_loss=summary_number(run, "test/loss"),
        parameters=parameters_of(run),
        seconds=seconds_of(run),
        members=[members[item.key] for item in group[:MOST_MEMBERS] if item.key in members],
    )
