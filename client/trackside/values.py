"""What scripts log and configure, as JSON: scalars of numpy and torch, NaN, nested mappings, anything else as text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

MOST = 2**53  # larger integers are not exact in JSON
DEPTH = 20
SEPARATOR = "/"

_NONFINITE = {"inf": '"Infinity"', "-inf": '"-Infinity"', "nan": '"NaN"'}


def scalar_text(value: Any) -> str | None:
    """Return a number as JSON, or None if `value` is not one number. NaN and infinities become strings.

    Accepts bool, int, float and what has `.item()` (numpy scalars; arrays and tensors with one element).
    """
    kind = type(value)
    if kind is float:
        return repr(value) if value - value == 0.0 else _NONFINITE[repr(value)]
    if kind is int:
        return repr(value) if -MOST <= value <= MOST else _large(value)
    if kind is bool:
        return "1" if value else "0"
    if isinstance(value, (int, float)):  # an IntEnum, numpy.float64
        return scalar_text(float(value) if isinstance(value, float) else int(value))
    if isinstance(value, (str, bytes, Mapping)):
        return None
    single = _item(value)
    return None if single is None else scalar_text(single)


def number_of(text: str) -> float:
    """Return the number that `scalar_text` has written."""
    return float(text.strip('"'))


def flatten(data: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested mappings, their names joined by a slash."""
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, name + SEPARATOR)
        else:
            yield name, value


def clean(text: str) -> str:
    """Return `text` without what UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode("utf-8")


def one_line(text: str, most: int) -> str:
    """Return at most `most` characters of `text`, with spaces for control characters and line breaks."""
    printable = "".join(letter if letter.isprintable() else " " for letter in clean(text))
    return printable.strip()[:most].strip()


def to_json(value: Any, depth: int = DEPTH) -> Any:
    """Return `value` as what JSON can hold. What has no form of its own becomes its text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(value)
    text = scalar_text(value)
    if text is not None:
        return text.strip('"') if text.startswith('"') else (float(text) if _has_point(text) else int(text))
    if depth <= 0:
        return clean(str(value))[:1000]
    if isinstance(value, Mapping):
        return {clean(str(key)): to_json(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item, depth - 1) for item in value]
    listed = _listed(value)
    return clean(str(value)) if listed is None else to_json(listed, depth - 1)


def config_of(value: Any) -> dict[str, Any]:
    """Return what was given as a config (a mapping, an argparse namespace, a dataclass) as a dictionary.

    Raises TypeError: it is none of these.
    """
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    if hasattr(value, "as_dict"):
        return config_of(value.as_dict())
    if hasattr(value, "__dict__"):
        return {name: item for name, item in vars(value).items() if not name.startswith("_")}
    raise TypeError(f"config is a {type(value).__name__}: give a dictionary, a namespace or a dataclass.")


def _large(value: int) -> str:
    try:
        return repr(float(value))
    except OverflowError:
        return _NONFINITE["inf" if value > 0 else "-inf"]


def _item(value: Any) -> Any:
    """The one number that an array or tensor holds, else None."""
    item = getattr(value, "item", None)
    if item is None or not callable(item):
        return _as_float(value)
    try:
        single = item()
    except (TypeError, ValueError, RuntimeError):  # more than one element, a meta tensor
        return None
    return single if isinstance(single, (bool, int, float)) else None


def _as_float(value: Any) -> float | None:
    if not hasattr(value, "__float__"):  # Decimal, Fraction
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def _has_point(text: str) -> bool:
    return any(mark in text for mark in ".en")


def _listed(value: Any) -> list[Any] | None:
    """A small array or tensor as lists."""
    tolist, size = getattr(value, "tolist", None), getattr(value, "shape", None)
    if tolist is None or size is None or math.prod(size) > 1000:
        return None
    try:
        return list(tolist())
    except (TypeError, ValueError, RuntimeError):
        return None
