"""Comparison of metric series."""

from __future__ import annotations

from typing import Any

MEASURED = {"throughput"}  # measured, so it differs between two runs of the same spec


def values(series: dict[str, Any]) -> dict[str, list[tuple[int, float | None]]]:
    """Return each series, except the measured ones, as a list of (step, value) pairs."""
    return {
        name: list(zip(points["step"], points["value"], strict=True))
        for name, points in series.items()
        if name not in MEASURED
    }


def assert_whole(series: dict[str, Any], total_steps: int) -> None:
    """Assert that the steps of each series are unique, ascending and end at `total_steps`."""
    for name in ("train/loss", "train/acc", "lr", "throughput"):
        steps = series[name]["step"]
        assert steps == sorted(set(steps)), name
        assert steps[-1] == total_steps, name
        assert series[name]["total"] == len(steps), name
