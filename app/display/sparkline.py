"""The loss curves of a run as two small SVG paths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 160
HEIGHT = 28
MARGIN = 2


@dataclass(frozen=True)
class Sparkline:
    """SVG path data in a box of WIDTH × HEIGHT; an empty string for a curve of fewer than two points."""

    train: str
    val: str


def sparkline(spark: Mapping[str, Any], total_steps: int | None) -> Sparkline:
    """Draw the training and validation loss.

    `spark` holds the lists `step`, `train` and `val`, of one length, with None for missing values. The y-scale ignores
    the first tenth of the training losses, so that the initial drop does not flatten the rest.
    """
    steps: Sequence[int] = spark.get("step") or []
    train: Sequence[float | None] = spark.get("train") or []
    val: Sequence[float | None] = spark.get("val") or []
    last = max([total_steps or 0, *steps[-1:], 1])
    settled = [value for value in [*train[len(train) // 10 :], *val] if _drawable(value)]
    if not settled:
        return Sparkline("", "")
    low, high = min(settled), max(settled)  # type: ignore[type-var]
    return Sparkline(_path(steps, train, last, low, high), _path(steps, val, last, low, high))


def _path(steps: Sequence[int], values: Sequence[float | None], last: int, low: Any, high: Any) -> str:
    span = (high - low) or 1.0
    parts: list[str] = []
    x_scale, y_scale, bottom = WIDTH / last, (HEIGHT - 2 * MARGIN) / span, HEIGHT - MARGIN
    for step, value in zip(steps, values, strict=False):
        if value is not None and _drawable(value):
            y = max(MARGIN, bottom - y_scale * (value - low))
            parts.append(f"{x_scale * step:.1f} {y:.1f}")
    return "M" + "L".join(parts) if len(parts) > 1 else ""


def _drawable(value: float | None) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
