"""The series of a run, as lists of numbers or as a pandas frame."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, TypedDict

from trackside.errors import UsageError

NONFINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class Series(TypedDict):
    """One series: three lists of the same length, by increasing step."""

    step: list[int]
    value: list[float]
    time: list[float]


class Metrics(dict[str, Series]):
    """Series by name, such as `train/loss`."""

    def frame(self) -> Any:
        """Return a pandas.DataFrame: a row per step, a column per series, NaN where a series has no value at a step.

        Raises UsageError: pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise UsageError("metrics().frame() needs pandas: pip install pandas") from None
        columns = {name: pandas.Series(series["value"], index=series["step"]) for name, series in self.items()}
        frame = pandas.DataFrame(columns)
        frame.index.name = "step"
        return frame


def metrics_of(answer: Mapping[str, Any]) -> Metrics:
    """Return the metrics of an answer of the API, with NaN and infinities where it has null."""
    return Metrics({name: _series_of(series) for name, series in answer["series"].items()})


def _series_of(found: Mapping[str, Any]) -> Series:
    kinds = {item["step"]: NONFINITE[item["kind"]] for item in found.get("nonfinite", ())}
    steps = found["step"]
    pairs = zip(steps, found["value"])
    values = [kinds.get(step, float("nan")) if value is None else value for step, value in pairs]
    return {"step": steps, "value": values, "time": found["time"]}
