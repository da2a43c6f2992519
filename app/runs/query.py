"""The listing of runs as one query: filters, search, sorting and cursor pagination; and selecting run rows."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from sqlalchemy import String, cast, func, or_
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import Select

from app.errors import not_found
from app.fields import Line
from app.storage.tables import ACTIVE, Run, Status

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
SORTABLE = {
    "created_at": (Run.created_at, NEVER),
    "name": (Run.name, ""),
    "status": (Run.status, ""),
    "best_acc": (Run.best_acc, -1.0),
    "finished_at": (Run.finished_at, NEVER),
}


def matching(query: RunQuery) -> Select[Run, Any]:
    """Select runs with the value they are sorted by, in order, from the cursor on."""
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


def row_of(session: Session, run_id: str) -> Run:
    """Return the run's row. Raises ApiError 404."""
    row = session.exec(select(Run).where(Run.id == run_id)).first()
    if row is None:
        raise not_found("run", run_id)
    return row


def key_of(session: Session, run_id: str) -> int:
    """Return the key by which points, findings and checkpoints refer to the run. Raises ApiError 404."""
    key = session.exec(select(Run.key).where(Run.id == run_id)).first()
    if key is None:
        raise not_found("run", run_id)
    return key


def rows_by_id(session: Session, ids: Sequence[str]) -> Sequence[Run]:
    return session.exec(select(Run).where(col(Run.id).in_(ids))).all()


def rows_by_key(session: Session, keys: Sequence[int | None]) -> Sequence[Run]:
    return session.exec(select(Run).where(col(Run.key).in_(keys))).all()


def active_rows(session: Session) -> Sequence[Run]:
    return session.exec(select(Run).where(col(Run.status).in_(ACTIVE))).all()


def counts_by_status(session: Session) -> Sequence[tuple[str, int]]:
    return session.exec(select(Run.status, func.count()).group_by(col(Run.status))).all()


def queue_order() -> list[Any]:
    """Return the sort columns of the queue: higher priorities first, then by place."""
    return [col(Run.priority).desc(), col(Run.place), col(Run.key)]


def _json_text(column: Any) -> Any:
    """Return the column's stored text: JSON with \\u escapes."""
    return cast(column, String)


class RunQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    dataset: Line | None = None
    model: Line | None = None
    tag: Line | None = None
    group: Line | None = None
    starred: bool | None = None
    q: Line | None = None
    sort: Literal[
        "created_at", "-created_at", "name", "-name", "status", "-status", "best_acc", "-best_acc",
        "finished_at", "-finished_at",
    ] = "-created_at"  # fmt: skip
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=500)

    @model_validator(mode="before")
    @classmethod
    def drop_empty(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""} if isinstance(values, dict) else values

    @field_validator("cursor")
    @classmethod
    def cursor_is_valid(cls, cursor: str | None, info: ValidationInfo) -> str | None:
        if cursor is not None and "sort" in info.data:
            _decode_cursor(cursor, info.data["sort"])
        return cursor

    def after(self) -> tuple[Any, int] | None:
        """Return the sorted column's value and the key of the last run of the previous page."""
        return None if self.cursor is None else _decode_cursor(self.cursor, self.sort)

    def cursor_after(self, value: Any, key: int | None) -> str:
        return base64.urlsafe_b64encode(orjson.dumps([value, key], default=str)).decode()


def _decode_cursor(cursor: str, sort: str) -> tuple[Any, int]:
    try:
        value, key = orjson.loads(base64.urlsafe_b64decode(cursor))
        if type(key) is not int or not 0 <= key < 2**63:
            raise ValueError
        match sort.lstrip("-"):
            case "created_at" | "finished_at":
                return datetime.fromisoformat(value).astimezone(UTC), key
            case "best_acc":
                return float(value), key
            case _ if isinstance(value, str):
                return value, key
        raise ValueError
    except (ValueError, TypeError, OverflowError):  # binascii's error is a ValueError
        raise ValueError("is not a cursor that this listing gave") from None
