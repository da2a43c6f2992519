"""Texts of numbers that can be read in two ways: with a decimal comma, or with separators of thousands."""

from __future__ import annotations

import re

_LONE_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d{1,3})?")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}(\1\d{3})*")
_GROUPED_DECIMAL = re.compile(r"[+-]?[1-9]\d{0,2}((\.\d{3})+,\d+|(,\d{3})+\.\d+)")


def has_lone_comma(text: str) -> bool:
    """Whether the only comma in the text of a number stands between digits, as in 0,2."""
    return _LONE_COMMA.fullmatch(text) is not None


def is_grouped(text: str) -> bool:
    """Whether all digits after the first separator are in groups of three, as in 1.000 and 1,000,000."""
    return _GROUPED.fullmatch(text) is not None


def is_grouped_decimal(text: str) -> bool:
    """Whether the text has separators of thousands and a decimal separator, as in 1.000,5 and 1,000.5."""
    return _GROUPED_DECIMAL.fullmatch(text) is not None


def readings(text: str, *, integer: bool) -> list[str]:
    """The numbers that an ambiguous text may mean, as they have to be written; empty if the text is unambiguous."""
    digits = re.sub(r"[.,]", "", text)
    if is_grouped_decimal(text):
        whole, decimals = re.split(r"[.,](?=\d+$)", text)
        return [re.sub(r"[.,]", "", whole) + "." + decimals]
    if is_grouped(text) and (integer or "," in text):
        if has_lone_comma(text) and not integer:
            return [digits, _with_point(text)]
        first, *groups = text.split(".")
        return [digits, first] if groups and set("".join(groups)) == {"0"} else [digits]
    if has_lone_comma(text) and not integer:
        return [_with_point(text)]
    return []


def ambiguity(text: str, *, integer: bool) -> str | None:
    """Return what is wrong with the text of one number if it can be read in two ways, else None."""
    numbers = readings(text.strip(), integer=integer)
    return f"{text.strip()!r} can be read in two ways: write {' or '.join(numbers)}" if numbers else None


def _with_point(text: str) -> str:
    return re.sub(r"^([+-]?)\.", r"\g<1>0.", text.replace(",", "."))
