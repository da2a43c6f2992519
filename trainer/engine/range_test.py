"""The learning-rate range test (L. Smith, 2015): the rate rises until training diverges; the best is well below."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from trainer.rundir.events import EventWriter

SMOOTHING = 0.9
DIVERGED = 4.0  # times the lowest loss so far
MARGIN = 10.0  # the suggestion is the rate with the lowest loss, divided by this


@dataclass
class RangeTest:
    smoothed: float | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)

    def add(self, rate: float, loss: float) -> None:
        self.smoothed = loss if self.smoothed is None else SMOOTHING * self.smoothed + (1 - SMOOTHING) * loss
        self.curve.append((rate, self.smoothed))

    @property
    def broken(self) -> bool:
        losses = [loss for _, loss in self.curve]
        return bool(losses) and (not math.isfinite(losses[-1]) or losses[-1] > DIVERGED * min(losses))

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed loss was lowest; NaN if no loss was finite."""
        finite = [(loss, rate) for rate, loss in self.curve if math.isfinite(loss)]
        return min(finite)[1] / MARGIN if finite else math.nan


def suggest(events: EventWriter, step: int, found: RangeTest) -> None:
    message = f"Learning-rate range test: try {found.suggestion:.2g}, a tenth of the rate with the lowest loss."
    events.emit("finding", step=step, kind="lr_range", level="info", message=message, evidence={"curve": found.curve})
