"""The listing of runs as one query: filters, search, sorting and cursor pagination; and selecting run rows."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from sqlalchemy import ColumnElement, Select, and_, func, null, or_
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.errors import not_found
from app.fields import Line, LongLine
from app.runs.conditions import condition, expression_of, has_tag
from app.runs.run_fields import RunField, field_named
from app.runs.search import Term, parse
from app.storage.tables import ACTIVE, Run, Source, Status

NEWEST_FIRST = "-created_at"
NOT_NULL = ("name", "status", "created")


def matching(query: RunQuery, *more: ColumnElement[bool]) -> Select[Any]:
    """Select the keys of runs with the value they are sorted by, in order, from the cursor on; missing values last.

    Only keys are selected: to sort whole rows, SQLite would copy the specs of all runs.
    """
    statement, rank = expression_of(select_columns(col(Run.key)), query.sort_field)
    return in_order(statement.add_columns(rank).where(*conditions(query), *more), col(Run.key), rank, query)


def in_order(statement: Select[Any], key: Any, rank: Any, query: RunQuery) -> Select[Any]:
    """Return the statement from the cursor on, ordered by the rank, which the query sorts by, and then by the key."""
    descending = query.sort.startswith("-")
    if (after := query.after()) is not None:
        statement = statement.where(_follows(key, rank, *after, descending=descending))
    order = [rank.desc(), key.desc()] if descending else [rank.asc(), key.asc()]
    missing_last = [] if query.sort_field.name in NOT_NULL else [rank.is_(None)]
    return statement.order_by(*missing_last, *order)


def _follows(key: Any, rank: Any, value: Any, last: int, *, descending: bool) -> ColumnElement[bool]:
    """Return the condition for the runs after the one with this value and key."""
    later = key < last if descending else key > last
    if value is None:
        return and_(rank.is_(None), later)
    return or_(rank < value if descending else rank > value, rank.is_(None), and_(rank == value, later))


def conditions(query: RunQuery) -> list[ColumnElement[bool]]:
    """Return what the filters and the search ask of a run."""
    wanted: list[ColumnElement[bool]] = []
    for name in ("status", "dataset", "model", "group", "project"):
        if (value := getattr(query, name)) is not None:
            wanted.append(getattr(Run, name) == value)
    if query.starred is not None:
        wanted.append(col(Run.starred) == query.starred)
    if query.tag is not None:
        wanted.append(has_tag(query.tag))
    return wanted + [condition(term) for term in query.terms]


def unindexed(expression: Any) -> Any:
    """Return the same value as an expression that SQLite does not group by with an index.

    The indexes of single columns lead to the rows, each of which has a page of its own; the index of all listed columns
    is read at once.
    """
    return func.coalesce(expression, null())


def rows_in_order(session: Session, keys: Sequence[int | None]) -> list[Run]:
    """Return the rows of these keys, in their order."""
    found = {row.key: row for row in rows_by_key(session, keys)}
    return [found[key] for key in keys if key in found]


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
    """Return the starting, running and stopping runs of Trackside's trainer."""
    return session.exec(select(Run).where(col(Run.status).in_(ACTIVE), Run.source == Source.TRACKSIDE)).all()


def counts_by_status(session: Session) -> Sequence[tuple[str, int]]:
    return session.exec(select(Run.status, func.count()).group_by(col(Run.status))).all()


def queue_order() -> list[Any]:
    """Return the sort columns of the queue: higher priorities first, then by place."""
    return [col(Run.priority).desc(), col(Run.place), col(Run.key)]


def _searchable(text: str) -> str:
    """Raises SearchError, a ValueError: the search cannot be read."""
    parse(text)
    return text


def _sortable(sort: str) -> str:
    """Raises UnknownField, a ValueError."""
    field_named(sort.removeprefix("-"))
    return sort


class RunQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    dataset: Line | None = None
    model: Line | None = None
    tag: Line | None = None
    group: Line | None = None
    project: Line | None = None
    starred: bool | None = None
    q: Annotated[
        LongLine | None,
        Field(description="Words of names, notes and tags, and fields: `lr<0.01 val/acc>=0.7 status:failed -tag:old`"),
    ] = None
    sort: Annotated[
        Line,
        AfterValidator(_sortable),
        Field(description="A column, a setting or a metric, such as `-created_at`, `optimizer.lr` or `-val/acc`"),
    ] = NEWEST_FIRST
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=2000)

    @model_validator(mode="before")
    @classmethod
    def drop_empty(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""} if isinstance(values, dict) else values

    @field_validator("q")
    @classmethod
    def q_can_be_read(cls, q: str | None) -> str | None:
        return q if q is None else _searchable(q)

    @field_validator("cursor")
    @classmethod
    def cursor_is_valid(cls, cursor: str | None, info: ValidationInfo) -> str | None:
        if cursor is not None and "sort" in info.data:
            _decode_cursor(cursor, _field_of(info.data["sort"]))
        return cursor

    @property
    def terms(self) -> tuple[Term, ...]:
        return parse(self.q or "")

    @property
    def sort_field(self) -> RunField:
        return _field_of(self.sort)

    def after(self) -> tuple[Any, int] | None:
        """Return the sorted column's value and the key of the last run of the previous page."""
        return None if self.cursor is None else _decode_cursor(self.cursor, self.sort_field)

    def cursor_after(self, value: Any, key: int | None) -> str:
        return base64.urlsafe_b64encode(orjson.dumps([value, key], default=str)).decode()


def _field_of(sort: str) -> RunField:
    return field_named(sort.removeprefix("-"))


def _decode_cursor(cursor: str, field: RunField) -> tuple[Any, int]:
    try:
        value, key = orjson.loads(base64.urlsafe_b64decode(cursor))
        if type(key) is not int or not 0 <= key < 2**63:
            raise ValueError
        if value is None and field.name not in NOT_NULL:
            return None, key
        if field.kind == "time":
            return datetime.fromisoformat(value).astimezone(UTC), key
        if field.is_number:
            return float(value), key
        if isinstance(value, str):
            return value, key
        raise ValueError
    except (ValueError, TypeError, OverflowError):  # binascii's error is a ValueError
        raise ValueError("is not a cursor that this listing gave") from None
