"""Questions about typed numbers: `0,2` may mean 0.2, or two runs with 0 and 2."""

from __future__ import annotations

import re

from trainer.spec.numbers import has_lone_comma, is_grouped, readings
from trainer.spec.preset import number_type

_BETWEEN = re.compile(r";|,\s+|\s+,|\.\.")
_BETWEEN_GROUPED = re.compile(r"(?<=\.\d{3}),(?=\d+\.\d{3})")
_GROUP_OF_ZEROS = re.compile(r",0\d\d")


def question(name: str, text: str, *, is_list: bool) -> str:
    """Return the question about the text of a field, empty if it can be read in one way only."""
    numbers = number_type(name)
    if numbers is None:
        return ""
    pieces = [piece.strip() for part in _BETWEEN.split(text.strip()) for piece in _BETWEEN_GROUPED.split(part)]
    for piece in pieces:
        asked = _about(piece, integer=numbers is int, alone=len(pieces) == 1, is_list=is_list)
        if asked:
            return asked
    return ""


def _about(piece: str, *, integer: bool, alone: bool, is_list: bool) -> str:
    numbers = readings(piece, integer=integer)
    # Values such as 128,256,512 are a list, as are the last two of "0, 1,2"; 1,000,000 is not.
    is_several = integer and "," in piece and not _GROUP_OF_ZEROS.search(piece)
    if is_several and not (has_lone_comma(piece) and (alone or is_grouped(piece))):
        return ""
    if not has_lone_comma(piece) or not alone or piece.startswith(","):
        return f"{piece}: write {' or '.join(numbers)}." if numbers else ""
    values = piece.split(",")
    several = f"the list {', '.join(values)}" if is_list else f"two runs with {' and '.join(values)}"
    first = ", ".join(numbers)
    asked = f"{first}, or {several}?" if numbers else f"{several[0].upper()}{several[1:]}?"
    return f"{asked} Write {' or '.join([*numbers, repr(', '.join(values))])}."
