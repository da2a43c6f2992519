"""The list of runs in sections: running ones on top, the queue, then ended ones page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, col

from app.runs.public import RunPublic, public
from app.runs.query import (
    NEWEST_FIRST,
    RunQuery,
    conditions,
    counts_of,
    in_section,
    matching,
    queue_order,
    rows_in_order,
)
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
        counts = counts_of(session, query)
        active, queued = [], []
        if query.cursor is None:
            active = _keys(session, matching(query, in_section("active")).limit(MOST_ACTIVE))
            queued = _keys(session, _queue(query).limit(MOST_QUEUED if whole_queue else QUEUED_SHOWN))
        found = session.connection().execute(matching(query, in_section("ended")).limit(query.limit + 1)).all()
        ended = [key for key, _ in found[: query.limit]]
        rows = {row.key: public(row, seq) for row in rows_in_order(session, [*active, *queued, *ended])}
    last = found[query.limit - 1] if len(found) > query.limit else None
    return Sections(
        active=[rows[key] for key in active if key in rows],
        queued=[rows[key] for key in queued if key in rows],
        ended=[rows[key] for key in ended if key in rows],
        next_cursor=None if last is None else query.cursor_after(last[1], last[0]),
        counts=counts,
    )


def _queue(query: RunQuery) -> Any:
    """Select the queued runs in the order in which they start, unless another order is asked for."""
    if query.sort != NEWEST_FIRST:
        return matching(query, in_section("queued"))
    return select(col(Run.key), col(Run.place)).where(*conditions(query), in_section("queued")).order_by(*queue_order())


def _keys(session: Session, statement: Any) -> list[int]:
    return [key for key, _ in session.connection().execute(statement).all()]
