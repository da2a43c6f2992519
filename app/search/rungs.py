"""The rungs of a trial: the steps at which it is compared with others."""

from __future__ import annotations

import math

REDUCTION = 3
MOST_RUNGS = 5


def rung_steps(pruner: str, total_steps: int, steps_per_epoch: int) -> tuple[int, ...]:
    """The steps at which trials are compared, at ends of epochs; the last is the end of the training."""
    steps = [total_steps]
    while pruner == "asha" and len(steps) < MOST_RUNGS:
        step = steps_per_epoch * math.ceil(steps[-1] / REDUCTION / steps_per_epoch)
        if not 0 < step < steps[-1]:
            break
        steps.append(step)
    return tuple(reversed(steps))
