"""The terms of a search as conditions of an SQL statement, and the expressions that runs are sorted and grouped by."""

from __future__ import annotations

import json
import operator
import re
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, String, and_, case, cast, false, func, not_, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from app.runs.run_fields import RunField
from app.runs.search import Term
from app.runs.values import value_of
from app.storage.tables import Run, RunValue, Source, ValueName

COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, ":": operator.eq}
LEAST_OF_ID = 6  # an id is a hexadecimal number: shorter parts would be found by chance
ESCAPE = "/"


def condition(term: Term) -> ColumnElement[bool]:
    """Return the condition that holds for the runs that the term describes; it is never null."""
    found = _word(term.values[0]) if term.field is None else _compared(term.field, term)
    return not_(found) if term.negated else found


def _word(word: str) -> ColumnElement[bool]:
    noted = aliased(Run)
    notes = select(noted.key).where(col(noted.notes) != "", col(noted.notes).icontains(word, autoescape=True))
    texts = (Run.name, Run.preset, Run.dataset, Run.group)
    found = [_known(col(text).icontains(word, autoescape=True)) for text in texts]
    quoted = json.dumps(word)[1:-1]
    found += [_json_text(column).icontains(quoted, autoescape=True) for column in (Run.tags, Run.changed)]
    if len(word) >= LEAST_OF_ID:
        found.append(col(Run.id).istartswith(word, autoescape=True))
    found.append(col(Run.key).in_(notes))  # by an index of the runs that have any
    return or_(*found)


def _compared(field: RunField, term: Term) -> ColumnElement[bool]:
    if field.kind == "tags":
        return or_(*(_has_tag(tag) for tag in term.values))
    if field.column is None:
        found = _among_values(field, term)
        # A script has no settings of Trackside's trainer, and so none of their defaults.
        return and_(col(Run.source) == Source.TRACKSIDE, found) if field.is_setting else found
    return or_(false(), *(_known(_holds(field, field.column, term.operator, value)) for value in term.values))


def has_tag(tag: str) -> ColumnElement[bool]:
    return cast_bool(_json_text(Run.tags).icontains(json.dumps(tag), autoescape=True))


def _has_tag(tag: str | None) -> ColumnElement[bool]:
    return cast_bool(_json_text(Run.tags) == "[]") if tag is None else has_tag(tag)


def _holds(field: RunField, expression: Any, sign: str, value: Any) -> ColumnElement[bool]:
    """Return the condition on one value; null where the expression is null."""
    if value is None:
        return cast_bool(expression.is_(None))
    match field.kind:
        case "words":
            return cast_bool(col(expression).icontains(value, autoescape=True))
        case "text" if isinstance(value, tuple):
            pattern = "%".join(part.replace(ESCAPE, ESCAPE * 2).replace("%", "/%").replace("_", "/_") for part in value)
            return cast_bool(expression.ilike(pattern, escape=ESCAPE))
        case "flag" if field.column is not None:
            return cast_bool(expression.is_(value))
        case "flag":
            value = float(value)  # as RunValue has it
        case "text":
            return cast_bool(func.lower(expression) == value.lower())
        case "time" if sign == ":":
            return and_(expression >= value, expression < value + timedelta(days=1))
        case "time" if sign in ("<=", ">"):  # a day counts as a whole
            return cast_bool(COMPARE[{"<=": "<", ">": ">="}[sign]](expression, value + timedelta(days=1)))
    return cast_bool(COMPARE[sign](expression, value))


def cast_bool(expression: Any) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = expression
    return condition


def _among_values(field: RunField, term: Term) -> ColumnElement[bool]:
    """Return the condition on a setting or a metric. A run without the setting has its default."""
    number, text = col(RunValue.number), col(RunValue.text)
    expression = number if field.is_number else text
    holds = or_(false(), *(_known(_holds(field, expression, term.operator, value)) for value in term.values))
    named = select(RunValue.run).where(RunValue.name == _key_of(field))
    if field.is_setting and any(_holds_for(field.default, term.operator, value) for value in term.values):
        return col(Run.key).not_in(named.where(not_(holds)))
    if field.is_metric and None in term.values:
        return or_(col(Run.key).in_(named.where(holds)), col(Run.key).not_in(named))
    return col(Run.key).in_(named.where(holds))


def _holds_for(default: Any, sign: str, value: Any) -> bool:
    if default is None or value is None:
        return default is value
    if isinstance(value, tuple):
        return re.fullmatch(".*".join(map(re.escape, value)), default, re.IGNORECASE) is not None
    number, text = value_of(default)
    have: Any
    have, wanted = (text.lower(), str(value).lower()) if text is not None else (number, value)
    return bool(COMPARE[sign](have, wanted))


def _key_of(field: RunField) -> Any:
    return select(ValueName.key).where(ValueName.name == field.name).scalar_subquery()


def _known(expression: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition with false for null, so that it can be negated."""
    return func.coalesce(expression, false())


def _json_text(column: Any) -> Any:
    """Return the column's stored text: JSON with \\u escapes."""
    return cast(column, String)


def _sortable(field: RunField) -> Any:
    match field.kind:
        case "tags":
            return _json_text(field.column)
        case "flag":
            return cast(field.column, Integer)  # PostgreSQL compares truth values with truth values only
    return field.column


def expression_of(statement: Any, field: RunField) -> tuple[Any, Any]:
    """Return the statement, joined with the field's values if need be, and the expression of the field."""
    if field.column is not None:
        return statement, _sortable(field)
    values = aliased(RunValue)
    statement = statement.outerjoin(values, and_(col(values.run) == Run.key, col(values.name) == _key_of(field)))
    expression: Any = values.number if field.is_number else values.text
    if field.is_setting and field.default is not None:
        number, text = value_of(field.default)
        default = case((col(Run.source) == Source.TRACKSIDE, number if field.is_number else text))
        expression = func.coalesce(expression, default)
    return statement, expression
