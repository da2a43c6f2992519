"""The small loss curves of a script run in the list of runs: a few dozen points, however long the script runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MOST_POINTS = 96  # then every second one is dropped

Spark = dict[str, list[Any]]  # step, train and val, of one length


def copied(spark: Mapping[str, list[Any]]) -> Spark:
    return {name: list(spark.get(name) or []) for name in ("step", "train", "val")}


def add_losses(spark: Spark, step: int, train: float | None, val: float | None) -> None:
    """Add a step's losses, unless the last point is too near."""
    train, val = _finite(train), _finite(val)
    if train is None and val is None:
        return
    steps = spark["step"]
    if steps and step == steps[-1]:
        spark["train"][-1] = spark["train"][-1] if train is None else train
        spark["val"][-1] = spark["val"][-1] if val is None else val
        return
    apart = (steps[-1] - steps[0]) / MOST_POINTS if len(steps) > 1 else 0
    if val is not None or not steps or step - steps[-1] >= apart:
        spark["step"].append(step)
        spark["train"].append(train)
        spark["val"].append(val)


def shortened(spark: Mapping[str, list[Any]]) -> Spark:
    """Return the curves with at most MOST_POINTS points: points of training go first, then every second one."""
    found = copied(spark)
    while (count := len(found["step"])) > MOST_POINTS:
        kept = [at for at in range(count) if at % 2 == 0 or found["val"][at] is not None]
        if len(kept) > MOST_POINTS:
            kept = list(range(0, count, 2))
        found = {name: [values[at] for at in kept] for name, values in found.items()}
    return found


def trimmed(spark: Mapping[str, list[Any]], last: int) -> Spark:
    """Return the curves up to the step `last`."""
    kept = [at for at, step in enumerate(spark.get("step") or []) if step <= last]
    return {name: [values[at] for at in kept] for name, values in spark.items()}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
