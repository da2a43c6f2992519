"""What the loss curves of a script say by themselves, without knowledge of how it trains.

The rules are cautious: a curve that may be healthy is not told. They read plain losses only (`train/loss`, `loss`,
`val/loss`, …): those of a GAN or of reinforcement learning may rise while all is well.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.diagnosis.findings import Finding, value
from trainer.diagnosis.trend import trend

NONFINITE_IN_A_ROW = 3  # training losses: a single one may be a step that mixed precision skips
LEAST_POINTS = 20
START = 5  # first values, whose median is the start
RISEN = 2.0  # times the start
LEAST_VALIDATIONS = 6
NOISES = 3.0  # typical changes between two validations
RISE_SHARE = 0.1  # of the decrease of the validation loss until its best
FALL_SHARE = 0.02  # of a loss: a smaller decrease is none
PLATEAU_VALIDATIONS = 12
DRAWN = 120


@dataclass(frozen=True)
class Loss:
    """A loss by its steps, thinned where it is long: the values may be non-finite."""

    name: str
    steps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]

    def finite(self) -> Loss:
        kept = np.isfinite(self.values)
        return Loss(self.name, self.steps[kept], self.values[kept])

    def after(self, step: int) -> Loss:
        kept = self.steps > step
        return Loss(self.name, self.steps[kept], self.values[kept])

    def drawn(self) -> list[list[float]]:
        every = max(1, len(self.values) // DRAWN)
        return [self.steps[::-every][::-1].astype(float).tolist(), self.values[::-every][::-1].tolist()]


@dataclass(frozen=True)
class Losses:
    """`ended`: no further value comes."""

    train: Loss | None
    val: Loss | None
    ended: bool = False

    def lines(self) -> dict[str, Any]:
        known = (loss.finite() for loss in (self.train, self.val) if loss is not None)
        return {"lines": {loss.name: loss.drawn() for loss in known if len(loss.values) > 1}}


def judge(losses: Losses) -> list[Finding]:
    """Return the findings that hold now. One that another explains is left out."""
    for rule in RULES:
        if (found := rule(losses)) is not None:
            return [found]
    return []


def nonfinite(losses: Losses) -> Finding | None:
    """The latest losses are NaN or infinite."""
    for loss in (losses.train, losses.val):
        least = 1 if losses.ended or loss is losses.val else NONFINITE_IN_A_ROW
        if loss is None or len(loss.values) < least or np.isfinite(loss.values[-least:]).any():
            continue
        bad = np.flatnonzero(np.isfinite(loss.values))
        first = int(loss.steps[bad[-1] + 1 if len(bad) else 0])
        kind = "NaN" if np.isnan(loss.values[-1]) else "infinite"
        message = f"{loss.name} is {kind} since step {first:,}: what follows is of no use."
        return Finding("nonfinite", "fail", message, losses.lines())
    return None


def diverged(losses: Losses) -> Finding | None:
    """The training loss lies far above its start, and does not fall."""
    if losses.train is None:
        return None
    loss = losses.train.finite()
    if len(loss.values) < LEAST_POINTS or loss.values.min() <= 0:
        return None
    start = float(np.median(loss.values[:START]))
    recent = loss.values[-max(START, len(loss.values) // 10) :]
    now = float(np.median(recent))
    if not now > RISEN * start or not float(recent.min()) > start:
        return None
    slope = trend(loss.steps[-len(recent) :].tolist(), recent.tolist())
    if slope.slope < 0:
        return None
    message = f"{loss.name} is {now:.3g}; it started at {start:.3g}. The training has diverged."
    return Finding(
        "diverged", "fail", message, {**value("loss / loss at the start", now / start, RISEN), **losses.lines()}
    )


def overfitting(losses: Losses) -> Finding | None:
    """The validation loss has risen well above its best, while the training loss goes on falling."""
    if losses.train is None or losses.val is None:
        return None
    val, train = losses.val.finite(), losses.train.finite()
    if len(val.values) < LEAST_VALIDATIONS or len(train.values) < LEAST_POINTS:
        return None
    best_at = int(np.argmin(val.values))
    since = val.values[best_at + 1 :]
    if len(since) < max(3, len(val.values) // 5):
        return None
    best, now = float(val.values[best_at]), float(np.median(since[-3:]))
    noise = float(np.median(np.abs(np.diff(val.values)))) if len(val.values) > 1 else 0.0
    decrease = float(val.values[0]) - best
    limit = max(NOISES * noise, RISE_SHARE * decrease, 0.02 * abs(best))
    rising = trend(val.steps[best_at:].tolist(), val.values[best_at:].tolist())
    if not now - best > limit or not rising.slope > 0:
        return None
    step = int(val.steps[best_at])
    if not _has_fallen(train, step):
        return None
    message = (
        f"{val.name} was lowest at step {step:,} ({best:.3g}) and is {now:.3g} now, while {train.name} still falls: "
        f"the model overfits. The weights of step {step:,} are probably the best."
    )
    return Finding(
        "overfitting", "look", message, {**value("rise of the validation loss", now - best, limit), **losses.lines()}
    )


def plateau(losses: Losses) -> Finding | None:
    """Neither loss has fallen for the last third of the validations."""
    if losses.train is None or losses.val is None or losses.ended:
        return None
    val, train = losses.val.finite(), losses.train.finite()
    if len(val.values) < PLATEAU_VALIDATIONS or len(train.values) < LEAST_POINTS:
        return None
    width = max(6, len(val.values) // 3)
    earlier, recent = val.values[:-width], val.values[-width:]
    step = int(val.steps[-width])
    if float(recent.min()) < float(earlier.min()) - 1e-3 * abs(float(earlier.min())):
        return None
    if _has_fallen(train, step, surely=False):
        return None
    message = f"Neither {train.name} nor {val.name} has fallen since step {step:,}, for {width} validations."
    return Finding("plateau", "look", message, losses.lines())


def _has_fallen(loss: Loss, step: int, *, surely: bool = True) -> bool:
    """Whether a loss has fallen by FALL_SHARE of what it was since `step`; if not `surely`, whether it may have."""
    part = loss.after(step)
    if len(part.values) < 4:
        return not surely
    found = trend(part.steps.tolist(), part.values.tolist())
    span = int(part.steps[-1] - part.steps[0])
    slope = found.high if surely else found.low
    level = statistics.median(np.abs(part.values[: max(1, len(part.values) // 4)]).tolist())
    return bool(-slope * span > FALL_SHARE * level)


RULES: Sequence[Callable[[Losses], Finding | None]] = (nonfinite, diverged, overfitting, plateau)
