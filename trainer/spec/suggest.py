"""What a mistyped name may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean optimizer.lr?" for "lr" or "optimzer.lr"; "" if no known name has a similar last part."""
    by_last_part: dict[str, str] = {}
    for each in known:
        by_last_part.setdefault(each.rpartition(".")[2], each)
    found = get_close_matches(name.rpartition(".")[2], by_last_part, n=1, cutoff=0.7)
    return f"; did you mean {by_last_part[found[0]]}?" if found else ""
