"""A quantity over time as an SVG path, for the lanes of the runs page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Trace:
    """One quantity over time: its latest and highest value as text, and SVG path data."""

    name: str
    now: str
    highest: str
    path: str


def trace_path(
    times: Sequence[float], values: Sequence[float | None], start: float, span: float, top: float, gap: float,
    width: int, height: int,
) -> str:  # fmt: skip
    """Build SVG path data with at most two points per pixel column: the minimum and maximum of its samples.

    `times` and `start` are UNIX seconds, `span` and `gap` seconds. `top` is the value at the upper edge. The path is
    interrupted where two samples are more than `gap` apart; missing values (None) are skipped.
    """
    parts: list[str] = []
    last_time = -float("inf")
    column: list[float] = []
    column_x = -1

    def add_point(x: int, value: float) -> None:
        parts.append(f"{'L' if parts and not broken else 'M'}{x} {height * (1 - min(1.0, value / top)):.1f}")

    broken = True
    for moment, value in zip(times, values, strict=True):
        if value is None:
            continue
        x = max(0, min(width, int(width * (moment - start) / span)))
        if x != column_x and column:
            add_point(column_x, min(column))
            broken = False
            if max(column) > min(column):
                add_point(column_x, max(column))
            column = []
        if moment - last_time > gap:
            broken = True
        column_x, last_time = x, moment
        column.append(value)
    if column:
        add_point(column_x, max(column))
    return "".join(parts)
