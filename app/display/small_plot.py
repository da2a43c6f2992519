"""The evidence of a finding as a small plot: a few lines, or a bar chart, in a box of WIDTH × HEIGHT."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.display.formatting import number

WIDTH = 240
HEIGHT = 72
MARGIN = 3
OTHER_QUANTITY = "update to weight"  # in older runs, beside the loss; all other lines of a plot are of one quantity


@dataclass(frozen=True)
class PlotLine:
    name: str
    path: str
    first: str
    last: str


@dataclass(frozen=True)
class SmallPlot:
    """`bars` holds (x, width, y, height) per bar; `span` names the range of steps that the lines cover."""

    lines: tuple[PlotLine, ...] = ()
    bars: tuple[tuple[float, float, float, float], ...] = ()
    span: str = ""

    @property
    def described(self) -> str:
        """The text alternative for screen readers."""
        return "; ".join(f"{line.name} from {line.first} to {line.last}" for line in self.lines)


def small_plot(evidence: Mapping[str, Any]) -> SmallPlot | None:
    """Plot a finding's evidence; None if it holds no bars and no line of two points or more."""
    if bars := evidence.get("bars"):
        return SmallPlot(bars=_bars(bars))
    lines = {name: _points(*line) for name, line in (evidence.get("lines") or {}).items()}
    drawn = {name: points for name, points in lines.items() if len(points) > 1}
    if not drawn:
        return None
    left = min(points[0][0] for points in drawn.values())
    right = max(points[-1][0] for points in drawn.values())
    shared = OTHER_QUANTITY not in drawn
    all_values = [y for points in drawn.values() for _, y in points]
    plots = tuple(
        _line(name, points, left, right, all_values if shared else [y for _, y in points])
        for name, points in drawn.items()
    )
    return SmallPlot(plots, span=f"steps {left:,.0f} to {right:,.0f}")


def _points(xs: Sequence[float], ys: Sequence[float | None]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(xs, ys, strict=False) if isinstance(y, int | float) and math.isfinite(y)]


def _line(
    name: str, points: Sequence[tuple[float, float]], left: float, right: float, scale: Sequence[float]
) -> PlotLine:
    low, high = min(scale), max(scale)
    parts: list[str] = []
    for x, y in points:
        plot_x = WIDTH * (x - left) / ((right - left) or 1)
        plot_y = MARGIN + (HEIGHT - 2 * MARGIN) * (1 - (y - low) / ((high - low) or 1))
        parts.append(f"{'L' if parts else 'M'}{plot_x:.1f} {plot_y:.1f}")
    first, last = (number(float(f"{points[end][1]:.3g}")) for end in (0, -1))
    return PlotLine(name, "".join(parts), first, last)


def _bars(values: Sequence[float]) -> tuple[tuple[float, float, float, float], ...]:
    top, step = max([*values, 1e-12]), WIDTH / len(values)
    heights = [max(1.0, (HEIGHT - MARGIN) * max(0.0, value) / top) for value in values]
    return tuple(
        (round(index * step, 1), round(0.8 * step, 1), round(HEIGHT - height, 1), round(height, 1))
        for index, height in enumerate(heights)
    )
