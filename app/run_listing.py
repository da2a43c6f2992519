"""The listing of runs as one query: filters, search, and an order in which pages follow each other."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import String, cast, func, or_
from sqlmodel import col, select
from sqlmodel.sql.expression import Select

from app.run_models import RunQuery
from app.storage.tables import Run

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
SORTABLE = {
    "created_at": (Run.created_at, NEVER),
    "name": (Run.name, ""),
    "status": (Run.status, ""),
    "best_acc": (Run.best_acc, -1.0),
    "finished_at": (Run.finished_at, NEVER),
}


def matching(query: RunQuery) -> Select[Run, Any]:
    """Runs and what they are ranked by, in order, from the cursor on."""
    descending = query.sort.startswith("-")
    column, missing = SORTABLE[query.sort.lstrip("-")]
    rank: Any = func.coalesce(column, missing)
    statement = select(Run, rank)
    for name in ("status", "dataset", "model", "group"):
        if (value := getattr(query, name)) is not None:
            statement = statement.where(getattr(Run, name) == value)
    if query.starred is not None:
        statement = statement.where(col(Run.starred) == query.starred)
    if query.tag is not None:
        statement = statement.where(_json_text(Run.tags).contains(json.dumps(query.tag), autoescape=True))
    if query.q:
        texts = map(col, (Run.name, Run.notes, Run.preset, Run.dataset, Run.id))
        found = [text.icontains(query.q, autoescape=True) for text in texts]
        quoted = json.dumps(query.q)[1:-1]
        found += [_json_text(column).icontains(quoted, autoescape=True) for column in (Run.tags, Run.changed)]
        statement = statement.where(or_(*found))
    if (after := query.after()) is not None:
        value, key = after
        same = (rank == value) & (col(Run.key) < key if descending else col(Run.key) > key)
        statement = statement.where((rank < value if descending else rank > value) | same)
    order = (rank.desc(), col(Run.key).desc()) if descending else (rank, col(Run.key))
    return statement.order_by(*order)


def queue_order() -> list[Any]:
    """What the queue is sorted by: higher priorities first, then places."""
    return [col(Run.priority).desc(), col(Run.place), col(Run.key)]


def _json_text(column: Any) -> Any:
    """The column as it is stored: JSON with \\u escapes."""
    return cast(column, String)
