"""The values of W&B's records: JSON, or since version 0.31 numbers and texts, under keys that may be nested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trackside.imports.items import LATEST
from trackside.imports.protobuf import Malformed, Value, as_bytes, as_double, as_text, fields, signed

NONFINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
KEY, NESTED_KEY, NONE, BOOLEAN, INTEGER, NUMBER, TEXT, JSON, VALUE_JSON = 1, 2, 3, 4, 5, 6, 7, 8, 16
OWN = ("_wandb", "_step", "_timestamp", "_runtime")  # keys that W&B adds itself

Tree = dict[str, Any]

_decode = json.JSONDecoder().decode


def merge(tree: Tree, item: bytes) -> None:
    """Set the value of an item of a configuration, a history or a summary. Raises Malformed."""
    keys: list[str] = []
    found: Any = None
    for field, value in fields(item):
        if field in (KEY, NESTED_KEY):
            keys.append(as_text(value))
        elif field != NONE:
            found = _value(field, value, found)
    if not keys:
        raise Malformed("a value has no key")
    for key in keys[:-1]:
        inner = tree.get(key)
        if not isinstance(inner, dict):
            inner = tree[key] = {}
        tree = inner
    tree[keys[-1]] = found


def remove(tree: Tree, item: bytes) -> None:
    """Remove what an item names. Raises Malformed."""
    keys = [as_text(value) for field, value in fields(item) if field in (KEY, NESTED_KEY)]
    for key in keys[:-1]:
        inner = tree.get(key)
        if not isinstance(inner, dict):
            return
        tree = inner
    tree.pop("".join(keys[-1:]), None)


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield names, joined by a slash, and values. A mapping with a `_type` is a value: an image, a table."""
    for key, value in tree.items():
        if isinstance(value, dict) and not isinstance(value.get("_type"), str):
            yield from leaves(value, f"{prefix}{key}/")
        elif isinstance(value, str):
            yield prefix + key, NONFINITE.get(value, value)
        else:
            yield prefix + key, value


def moment(data: bytes) -> float:
    """A google.protobuf.Timestamp as UNIX seconds; 0 for one that the server would not accept. Raises Malformed."""
    seconds = 0.0
    for field, value in fields(data):
        seconds += signed(value) * {1: 1.0, 2: 1e-9}.get(field, 0.0)
    return seconds if 0 <= seconds <= LATEST else 0.0


def texts(data: bytes, *numbers: int) -> list[str]:
    """The texts in these fields of a message, each "" if it has none. Raises Malformed."""
    found = {field: as_text(value) for field, value in fields(data) if field in numbers}
    return [found.get(number, "") for number in numbers]


def _value(field: int, value: Value, before: Any) -> Any:
    if field in (JSON, VALUE_JSON):
        try:
            return _decode(as_bytes(value).decode())
        except (ValueError, RecursionError) as error:
            raise Malformed(str(error)) from None
    if field == NUMBER:
        return as_double(value)
    if field == TEXT:
        return as_text(value)
    if field in (BOOLEAN, INTEGER):
        number = signed(value) & (1 << 64) - 1
        return bool(number) if field == BOOLEAN else (number >> 1) ^ -(number & 1)  # sint64
    return before
