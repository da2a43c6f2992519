"""A quantity over time as an SVG path: device charts and the lanes of the runs page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 96


@dataclass(frozen=True)
class Trace:
    """One quantity over time, as a path in WIDTH × HEIGHT."""

    name: str
    now: str
    highest: str
    path: str


def trace_path(
    times: Sequence[float], values: Sequence[float | None], start: float, span: float, top: float, gap: float,
    width: int = WIDTH, height: int = HEIGHT,
) -> str:  # fmt: skip
    """At most two points a pixel, the lowest and highest of its samples; broken where nothing was sampled."""
    parts: list[str] = []
    last = -float("inf")
    column: list[float] = []
    at = -1

    def put(pixel: int, value: float) -> None:
        parts.append(f"{'L' if parts and not broken else 'M'}{pixel} {height * (1 - min(1.0, value / top)):.1f}")

    broken = True
    for when, value in zip(times, values, strict=True):
        if value is None:
            continue
        pixel = max(0, min(width, int(width * (when - start) / span)))
        if pixel != at and column:
            put(at, min(column))
            broken = False
            if max(column) > min(column):
                put(at, max(column))
            column = []
        if when - last > gap:
            broken = True
        at, last = pixel, when
        column.append(value)
    if column:
        put(at, max(column))
    return "".join(parts)
