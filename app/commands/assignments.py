"""Settings on the command line."""

from __future__ import annotations

from typing import Any

from app.commands.console import fail


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Parse assignments such as `optimizer.lr=3e-4`. Values that are not JSON are kept as text."""
    import orjson  # not needed by other commands

    from trainer.spec.preset import ambiguous_number

    values: dict[str, Any] = {}
    for item in assignments:
        name, equals, text = item.partition("=")
        if not equals:
            raise fail(f"--set wants field=value, not {item!r}")
        try:
            values[name] = text if ambiguous_number(name, text) else orjson.loads(text)
        except orjson.JSONDecodeError:
            values[name] = text
    return values
