"""The list of runs in groups: by group, dataset, preset or any setting, with the mean and the best of each metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select
from sqlmodel import Session, col

from app.runs.conditions import condition, expression_of
from app.runs.public import RunPublic, public
from app.runs.query import RunQuery, conditions, matching, rows_in_order, unindexed
from app.runs.run_fields import RunField, field_named
from app.runs.search import exactly
from app.storage.changes import current_seq
from app.storage.db import Database
from app.storage.tables import ACTIVE, Run

GROUPS = 50  # per page
MEMBERS = 50  # of an open group
GROUPABLE_COLUMNS = ("group", "project", "source", "dataset", "preset", "model", "status", "device", "starred")
LOWER_IS_BETTER = ("loss", "ece", "error")
BEST = "best"


@dataclass(frozen=True)
class Figures:
    """Of a metric over the runs of a group that have it: mean, sample standard deviation and best value."""

    count: int
    mean: float | None
    sd: float | None
    best: float | None


@dataclass(frozen=True)
class Group:
    """`value` is what its runs have in common, None where they have nothing there. `runs` are filled if it is open."""

    value: str | float | None
    count: int
    active: int
    newest: datetime
    figures: dict[str, Figures]
    runs: list[RunPublic] = field(default_factory=list)

    @property
    def token(self) -> str:
        """The value as the URL has it."""
        return token_of(self.value)


@dataclass(frozen=True)
class GroupPage:
    """`count` groups in all, of `runs` runs."""

    groups: list[Group]
    count: int
    runs: int
    has_more: bool


def groupable(name: str) -> RunField:
    """Return the field. Raises ValueError: there is none, or runs are not grouped by it."""
    found = field_named(name)
    if not found.is_setting and found.name not in GROUPABLE_COLUMNS:
        raise ValueError(f"runs are grouped by {', '.join(GROUPABLE_COLUMNS)} or a setting, not by {name!r}")
    return found


def token_of(value: str | float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.17g}" if isinstance(value, float) else str(value)


def lower_is_better(metric: str) -> bool:
    return metric.rsplit("/", 1)[-1].endswith(LOWER_IS_BETTER)


def groups_of(
    database: Database, query: RunQuery, by: RunField, metrics: Sequence[str], opened: Sequence[str], page: int
) -> GroupPage:
    """Return a page of the groups of the runs that match. `metrics` are summed up besides the best accuracy."""
    with database.read() as session:
        found, count, runs = _groups(session, query, by, [BEST, *metrics], page)
        groups = [_opened(session, query, by, group) if group.token in opened else group for group in found[:GROUPS]]
    return GroupPage(groups, count, runs, len(found) > GROUPS)


def _groups(
    session: Session, query: RunQuery, by: RunField, metrics: Sequence[str], page: int
) -> tuple[list[Group], int, int]:
    """Return the groups of the page, one more than are shown, and the number of all groups and of their runs."""
    active = func.sum(case((col(Run.status).in_(ACTIVE), 1), else_=0))
    newest: Any = func.max(col(Run.created_at))
    statement, value = expression_of(select(), by)
    value = unindexed(value)
    count = func.count()
    totals = func.count().over(), func.sum(count).over()
    statement = statement.add_columns(*totals, value, count, active, newest).select_from(Run)
    orders: dict[str, Any] = {}
    for metric in metrics:
        statement, x = expression_of(statement, field_named(metric))
        best: Any = func.min(x) if lower_is_better(metric) else func.max(x)
        orders[metric] = best
        statement = statement.add_columns(func.count(x), func.avg(x), func.avg(x * x), best)
    statement = statement.where(*conditions(query)).group_by(value)
    order = _order(query, by, value, newest, orders)
    page_of = statement.order_by(*order).limit(GROUPS + 1).offset((page - 1) * GROUPS)
    rows = session.connection().execute(page_of).all()
    count_groups, count_runs = rows[0][:2] if rows else (0, 0)
    return [_group(row[2:], metrics) for row in rows], count_groups, count_runs


def _order(query: RunQuery, by: RunField, value: Any, newest: Any, orders: dict[str, Any]) -> list[Any]:
    """Groups are sorted by their best value where runs are sorted by a metric, by their value, or newest first."""
    descending = query.sort.startswith("-")
    field = query.sort_field
    if field.name in orders:
        by_best = orders[field.name]
        return [by_best.is_(None), by_best.desc() if descending else by_best.asc(), newest.desc()]
    if field.name == by.name:
        return [value.is_(None), value.desc() if descending else value.asc()]
    return [newest.desc() if descending else newest.asc(), value]


def _group(row: Sequence[Any], metrics: Sequence[str]) -> Group:
    value, count, active, newest, *figures = row
    return Group(
        value=value if value is None or isinstance(value, str) else float(value),
        count=count,
        active=active,
        newest=newest,
        figures={metric: _figures(*figures[4 * at : 4 * at + 4]) for at, metric in enumerate(metrics)},
    )


def _figures(count: int, mean: float | None, square: float | None, best: float | None) -> Figures:
    sd = None
    if mean is not None and square is not None and count > 1:
        sd = math.sqrt(max(0.0, square - mean * mean) * count / (count - 1))
    return Figures(count, mean, sd, best)


def _opened(session: Session, query: RunQuery, by: RunField, group: Group) -> Group:
    seq = current_seq(session)
    members = matching(query.model_copy(update={"cursor": None}), condition(exactly(by, group.value))).limit(MEMBERS)
    rows = rows_in_order(session, [key for key, _ in session.connection().execute(members).all()])
    return Group(
        group.value, group.count, group.active, group.newest, group.figures, [public(row, seq) for row in rows]
    )
