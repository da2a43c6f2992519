"""Series as tests compare them."""

from __future__ import annotations

from typing import Any

# Speed is measured, not computed: it differs between two runs of the same spec.
MEASURED = {"throughput"}


def values(series: dict[str, Any]) -> dict[str, list[tuple[int, float | None]]]:
    """Each computed series as (step, value) pairs."""
    return {
        name: list(zip(points["step"], points["value"], strict=True))
        for name, points in series.items()
        if name not in MEASURED
    }


def assert_whole(series: dict[str, Any], total_steps: int) -> None:
    """No step twice, none out of order, the last one there."""
    for name in ("train/loss", "train/acc", "lr", "throughput"):
        steps = series[name]["step"]
        assert steps == sorted(set(steps)), name
        assert steps[-1] == total_steps, name
        assert series[name]["total"] == len(steps), name
