"""Prediction dynamics: the predictions for a few validation images after every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.format import Split
from trainer.rundir.answers import Answers, answered_steps, read_answers

IMAGES = 12
EPOCHS = 40  # columns; those of a longer run are thinned evenly, keeping the last


@dataclass(frozen=True)
class Moment:
    """One prediction. `probability` is p(true class); `certainty` is the same in tenths, 0 to 9."""

    step: int
    right: bool
    guess: str
    probability: float

    @property
    def certainty(self) -> int:
        return min(9, int(10 * self.probability))


@dataclass(frozen=True)
class StripRow:
    image: int
    label: str
    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class PredictionStrip:
    """`split`: the arrays of the dataset that hold the images of `rows`."""

    split: Split
    rows: tuple[StripRow, ...]
    steps: tuple[int, ...]


def prediction_strip(
    run_dir: Path, split: Split, labels: npt.NDArray[np.int64], names: Sequence[str]
) -> PredictionStrip | None:
    """Return the strip of a run; None before its first evaluation.

    `labels` is int64 (N,), of the arrays of `split`, the validation split; `names` are those of the classes.
    """
    steps = answered_steps(run_dir)
    if not steps:
        return None
    every = -(-len(steps) // EPOCHS)
    kept = [read_answers(run_dir, step) for step in steps[::-every][::-1]]
    answers = [item for item in kept if item is not None]
    if not answers:
        return None
    places = np.linspace(0, len(answers[0].row) - 1, min(IMAGES, len(answers[0].row))).astype(int)
    rows = tuple(_row(answers, int(place), labels, names) for place in places)
    return PredictionStrip(split, rows, tuple(item.step for item in answers))


def _row(answers: Sequence[Answers], place: int, labels: npt.NDArray[np.int64], names: Sequence[str]) -> StripRow:
    image = int(answers[0].row[place])
    label = int(labels[image])
    moments = tuple(
        Moment(item.step, int(item.guess[place]) == label, names[int(item.guess[place])], float(item.own[place]))
        for item in answers
    )
    return StripRow(image, names[label], moments)
