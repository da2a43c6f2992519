"""The query language of the list of runs: `lr<0.01 status:failed -tag:old "exact words"`.

A query is a list of terms, all of which have to hold. A term is a word, which is searched in names, notes, tags and
changed settings, or a field with a value. `-` in front negates it. A value with commas stands for any of its parts;
`*` in a text stands for any characters. Values only ever become parameters of the SQL statement.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from app.runs.run_fields import CONFIG, STATUSES, RunField, UnknownField, field_named

MOST_TERMS = 30
LAST_YEAR = 9000
Operator = Literal[":", "<", "<=", ">", ">="]
_FIELD = re.compile(r"([A-Za-z][\w./@-]*)(:|\s*(?:!=|<=|>=|=|<|>)\s*)")
_YES_NO = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
_NONE = "none"


class SearchError(ValueError):
    """The query cannot be read. `position` counts characters from 1."""

    def __init__(self, reason: str, position: int) -> None:
        self.position = position
        super().__init__(f"{reason} (at character {position})")


@dataclass(frozen=True)
class Term:
    """A condition on runs. `field` is None for a word. `values` are alternatives, of the field's type or None.

    A text's value is a str; with `*` in it, unless it was quoted, a tuple of the parts between the asterisks.
    """

    field: RunField | None
    operator: Operator
    values: tuple[Any, ...]
    negated: bool = False


def parse(text: str) -> tuple[Term, ...]:
    """Return the terms of a query. Raises SearchError."""
    terms: list[Term] = []
    at = 0
    while (at := _skip_spaces(text, at)) < len(text):
        if len(terms) == MOST_TERMS:
            raise SearchError(f"a search has at most {MOST_TERMS} terms", at + 1)
        term, at = _term(text, at)
        terms.append(term)
    return tuple(terms)


def exactly(field: RunField, value: Any) -> Term:
    """Return the term for runs whose field has this value."""
    return Term(field, ":", (value,))


def _skip_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _term(text: str, at: int) -> tuple[Term, int]:
    negated = text[at] == "-" and at + 1 < len(text) and not text[at + 1].isspace()
    at += negated
    found = _FIELD.match(text, at) if text[at] != '"' else None
    if found is None:
        word, _, end = _word(text, at)
        return Term(None, ":", (word,), negated), end
    name, operator = found[1], found[2].strip()
    try:
        field = field_named(name)
    except UnknownField as error:
        raise SearchError(f"{error}. Put quotes around words that are not a field", at + 1) from None
    start = found.end()
    word, quoted, end = _word(text, start)
    if not word and not quoted:
        raise SearchError(f"a value is missing after {found[0].strip()!r}", start + 1)
    if operator == "!=":
        negated = not negated
    if field.name.startswith(CONFIG) and operator in (":", "=", "!=") and not _is_number(word):
        field = replace(field, kind="text")  # of a script's setting, only the value tells the type
    comparison = cast(Operator, operator if operator[0] in "<>" else ":")
    return Term(field, comparison, _values(field, comparison, word, quoted, start + 1), negated), end


def _is_number(word: str) -> bool:
    try:
        return all(math.isfinite(float(part)) for part in word.removesuffix("%").split(","))
    except ValueError:
        return False


def _word(text: str, at: int) -> tuple[str, bool, int]:
    """Return the word or the quoted text at `at`, whether it is quoted, and where it ends. A quote may stay open."""
    if at < len(text) and text[at] == '"':
        letters, at = [], at + 1
        while at < len(text) and text[at] != '"':
            at += text[at] == "\\" and at + 1 < len(text) and text[at + 1] in '\\"'
            letters.append(text[at])
            at += 1
        return "".join(letters), True, at + 1
    end = at
    while end < len(text) and not text[end].isspace():
        end += 1
    return text[at:end], False, end


def _values(field: RunField, operator: Operator, word: str, quoted: bool, position: int) -> tuple[Any, ...]:
    if operator != ":" and field.kind not in ("number", "time"):
        raise SearchError(f"{field.name} has no order: write {field.name}:value", position)
    parts = [word] if quoted or operator != ":" or field.kind in ("list", "words") else word.split(",")
    read = _READERS[field.kind]
    values: list[Any] = []
    for part in parts:
        if operator == ":" and part == _NONE and field.kind not in ("choice", "words"):
            values.append(None)
            continue
        value = read(field, part, position)
        if field.kind == "text" and not quoted and "*" in part:
            value = tuple(part.split("*"))
        values += value if field.kind == "choice" else [value]
        position += len(part) + 1
    return tuple(values)


def _text(_field: RunField, word: str, _position: int) -> str:
    return word


def _status(_field: RunField, word: str, position: int) -> Sequence[str]:
    if (found := STATUSES.get(word.lower())) is None:
        raise SearchError(f"{word!r} is not a status; there are {', '.join(STATUSES)}", position)
    return found


def _number(field: RunField, word: str, position: int) -> float:
    try:
        value = float(word.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in word:
        raise SearchError(f"{field.name} is a number, and {word!r} is not", position)
    return value / 100 if word.endswith("%") else value


def _flag(field: RunField, word: str, position: int) -> bool:
    if (found := _YES_NO.get(word.lower())) is None:
        raise SearchError(f"{field.name} is yes or no, not {word!r}", position)
    return found


def _time(field: RunField, word: str, position: int) -> datetime:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    known = {"today": today, "yesterday": today - timedelta(days=1)}
    if word.lower() in known:
        return known[word.lower()]
    try:
        found = datetime.fromisoformat(word)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        return found.replace(year=min(found.year, LAST_YEAR))  # the day after it is to be a date too
    except (ValueError, OverflowError):
        raise SearchError(f"{field.name} is a day such as 2026-01-31, not {word!r}", position) from None


def _list(_field: RunField, word: str, _position: int) -> str:
    return ",".join(part.strip() for part in word.split(","))


_READERS: dict[str, Callable[[RunField, str, int], Any]] = {
    "words": _text, "text": _text, "tags": _text, "choice": _status, "number": _number, "flag": _flag, "time": _time,
    "list": _list,
}  # fmt: skip
