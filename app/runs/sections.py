"""The list of runs in sections: running ones on top, the queue, then ended ones page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, literal, null, select, type_coerce, union_all
from sqlmodel import Session, col

from app.runs.conditions import expression_of
from app.runs.public import RunPublic, public
from app.runs.query import NEWEST_FIRST, RunQuery, conditions, in_order, matching, queue_order, rows_in_order, unindexed
from app.storage.changes import current_seq
from app.storage.db import Database
from app.storage.tables import ACTIVE, Run, Status

MOST_ACTIVE = 200
QUEUED_SHOWN = 5
MOST_QUEUED = 500


@dataclass(frozen=True)
class Sections:
    """`counts` has the number of matching runs by status, whatever is shown of them."""

    active: list[RunPublic]
    queued: list[RunPublic]
    ended: list[RunPublic]
    next_cursor: str | None
    counts: dict[str, int]

    @property
    def matching(self) -> int:
        return sum(self.counts.values())

    @property
    def count_active(self) -> int:
        return sum(self.counts.get(status, 0) for status in ACTIVE)

    @property
    def count_queued(self) -> int:
        return self.counts.get(Status.QUEUED, 0)

    @property
    def count_ended(self) -> int:
        return self.matching - self.count_active - self.count_queued


def sections_of(database: Database, query: RunQuery, *, whole_queue: bool) -> Sections:
    """Return the runs that match. A page after the first, which has a cursor, has ended runs alone."""
    with database.read() as session:
        seq = current_seq(session)
        counts, ended = _counts_and_ended(session, query)
        active: list[int] = []
        queued: list[int] = []
        if query.cursor is None:
            active = _keys(session, matching(query, col(Run.status).in_(ACTIVE)).limit(MOST_ACTIVE))
            queued = _keys(session, _queue(query).limit(MOST_QUEUED if whole_queue else QUEUED_SHOWN))
        shown = ended[: query.limit]
        found = rows_in_order(session, [*active, *queued, *(key for key, _ in shown)])
        rows = {row.key: public(row, seq) for row in found}
    last = shown[-1] if len(ended) > query.limit else None
    return Sections(
        active=[rows[key] for key in active if key in rows],
        queued=[rows[key] for key in queued if key in rows],
        ended=[rows[key] for key, _ in shown if key in rows],
        next_cursor=None if last is None else query.cursor_after(last[1], last[0]),
        counts=counts,
    )


def _counts_and_ended(session: Session, query: RunQuery) -> tuple[dict[str, int], list[tuple[int, Any]]]:
    """Return the number of matching runs by status, and key and rank of the ended ones, with one more than are shown.

    In one statement, in which the conditions are evaluated once per run.
    """
    inner, rank = expression_of(select(col(Run.key), unindexed(col(Run.status)).label("status")), query.sort_field)
    found = inner.add_columns(rank.label("rank")).where(*conditions(query)).cte("found").prefix_with("MATERIALIZED")
    of_counts = select(found.c.status, func.count(), type_coerce(null(), rank.type)).group_by(found.c.status)
    ended = select(literal(""), found.c.key, found.c.rank).where(found.c.status.not_in((*ACTIVE, Status.QUEUED)))
    page = in_order(ended, found.c.key, found.c.rank, query).limit(query.limit + 1).subquery()
    rows = session.connection().execute(union_all(of_counts, select(page))).all()
    return {row[0]: row[1] for row in rows if row[0]}, [(row[1], row[2]) for row in rows if not row[0]]


def _queue(query: RunQuery) -> Any:
    """Select the queued runs in the order in which they start, unless another order is asked for."""
    queued = col(Run.status) == Status.QUEUED
    if query.sort != NEWEST_FIRST:
        return matching(query, queued)
    return select(col(Run.key), col(Run.place)).where(*conditions(query), queued).order_by(*queue_order())


def _keys(session: Session, statement: Any) -> list[int]:
    return [key for key, _ in session.connection().execute(statement).all()]
