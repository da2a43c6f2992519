"""Which trial is trained further: asynchronous successive halving, and stopping below the median.

Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2. A trial that is promoted goes on
from its checkpoint, so that no step is computed twice.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from app.search.rungs import REDUCTION
from app.search.trials import State, Trial

LEAST_COMPLETE = 4  # trials that have passed a step, before others are compared with their median


def promotion(trials: Sequence[Trial], *, minimizes: bool) -> Trial | None:
    """The trial to train up to its next rung: one of the best third of its rung. None if there is none yet."""
    deepest = max((len(trial.rungs) for trial in trials), default=1)
    for rung in reversed(range(deepest - 1)):
        reached = [trial for trial in trials if trial.rung > rung and rung < len(trial.rungs) - 1]
        valued = [(value, trial) for trial in reached if (value := trial.value_at(rung)) is not None]
        valued.sort(key=lambda pair: (pair[0] if minimizes else -pair[0], pair[1].number))
        for _, trial in valued[: len(valued) // REDUCTION]:
            if trial.rung == rung + 1 and trial.state == State.PAUSED:
                return trial
    return None


def below_median(trials: Sequence[Trial], *, minimizes: bool) -> list[Trial]:
    """The running trials that are worse than the median of the others at the same step, after a third of the steps."""
    found = []
    for trial in trials:
        if trial.state != State.RUNNING or not trial.values:
            continue
        step, value = trial.values[-1]
        share = step / max(1, trial.rungs[-1])
        others = [
            at[-1]
            for other in trials
            if other.run != trial.run
            and other.values
            and other.values[-1][0] >= share * other.rungs[-1]
            and (at := [seen for when, seen in other.values if when <= share * other.rungs[-1]])
        ]
        if share < 1 / REDUCTION or len(others) < LEAST_COMPLETE:
            continue
        median = statistics.median(others)
        if value > median if minimizes else value < median:
            found.append(trial)
    return found
