"""How a run differs from its preset or its parent: as a list of changes, and as a default name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Changed = Mapping[str, tuple[Any, Any]]  # (old, new) by dotted field


def default_name(changed: Changed, stem: str) -> str:
    """Return the name of the preset or parent with the changes, for instance `baseline-cnn lr3e-4 epochs3`."""
    words = [f"{field.rsplit('.', 1)[-1]}{_short(value)}" for field, (_, value) in changed.items() if value is not None]
    return " ".join([stem, *words])[:120]


def _short(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.1e}" if 0 < abs(value) < 0.01 else f"{value:g}"
        return text.replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e")
    return "-".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def changes(changed: Changed) -> list[dict[str, Any]]:
    """Return the changes in the form of the API and the database."""
    return [{"field": field, "from": old, "to": new} for field, (old, new) in changed.items()]
