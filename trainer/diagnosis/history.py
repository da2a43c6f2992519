"""The metrics and findings of a run so far, as input of the rules. Does not import torch.

A resumed run rebuilds them from its own event files.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from trainer.rundir.events import NONFINITE, walk

KEPT = ("train/loss", "train/acc", "train_clean/loss", "train_clean/acc", "val/loss", "val/acc", "val/flips")
KEPT_GRADIENTS = ("grad/norm", "update/ratio")


class Curve:
    """A time series: steps in ascending order, and the value at each."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[float] = []

    def __len__(self) -> int:
        return len(self.values)

    def add(self, step: int, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)

    def trim(self, step: int) -> None:
        """Remove the values after `step`."""
        while self.steps and self.steps[-1] > step:
            self.steps.pop()
            self.values.pop()

    def medians(self, width: int) -> list[float]:
        """Return the moving median over `width` values, which one outlier hardly changes."""
        return [statistics.median(self.values[end - width : end]) for end in range(width, len(self) + 1)]

    def at(self, step: int) -> float | None:
        """Return the last value at or before `step`; None if there is none."""
        return next((v for s, v in zip(reversed(self.steps), reversed(self.values), strict=True) if s <= step), None)

    def drawn(self, points: int = 120) -> list[list[float]]:
        """Return [[steps], [values]] for a small plot, thinned to fewer than 2 * `points` values; keeps the last."""
        every = max(1, len(self) // points)
        return [[float(step) for step in self.steps[::-every][::-1]], self.values[::-every][::-1]]


class History:
    """The metrics that the rules read, as curves, and the findings reported so far."""

    def __init__(self) -> None:
        self.curves: dict[str, Curve] = defaultdict(Curve)
        self.told: dict[str, int] = {}  # kind of finding -> step; without the levels pass and look

    @classmethod
    def of_run(cls, run_dir: Path, step: int) -> History:
        """Read the metrics and findings of earlier attempts up to `step`, the checkpoint that the run resumes from."""
        history = cls()
        for _, event in walk(run_dir):
            match event["e"]:
                case "start":
                    history.trim(event["from_step"])
                    if event["from_step"] == 0:
                        history.told.clear()  # this attempt starts from scratch and repeats the checks
                case "metrics":
                    values = {k: NONFINITE[v] if isinstance(v, str) else v for k, v in event["v"].items()}
                    history.add(event["step"], values)
                case "finding" if event["level"] not in ("pass", "look"):
                    history.told[event["kind"]] = event["step"]
        history.trim(step)
        return history

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name in (*KEPT, *KEPT_GRADIENTS):
            if name in values:
                self.curves[name].add(step, values[name])

    def trim(self, step: int) -> None:
        """Remove the metrics and findings after `step`."""
        for curve in self.curves.values():
            curve.trim(step)
        self.told = {kind: told for kind, told in self.told.items() if told <= step}

    def __getitem__(self, name: str) -> Curve:
        return self.curves[name]

    @property
    def training(self) -> Curve:
        """The training loss to compare with the validation loss: the one on clean images if it is measured."""
        clean = self.curves["train_clean/loss"]
        return clean if len(clean) else self.curves["train/loss"]
