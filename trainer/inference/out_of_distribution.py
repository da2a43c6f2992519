"""Whether a model is as sure of an image as it was of those that it got right on its validation split.

The largest probability is the score, and the rule a quantile of it over the right answers (Hendrycks and Gimpel 2017,
"A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks"): it needs no more than is
kept, and has a unit that people know. It errs both ways: one right answer in a hundred lies below by construction, and
a network can be sure of an image that is like nothing it has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.rundir.answers import read_answers

SHARE = 0.01  # of the right validation answers, that lie below the threshold
LEAST = 100  # right answers: of fewer, a hundredth is none


@dataclass(frozen=True)
class Familiarity:
    """`score` is the image's largest probability, `answers` the number of right answers behind `threshold`."""

    score: float
    threshold: float
    answers: int
    familiar: bool


@dataclass(frozen=True)
class UsualScores:
    """`threshold`: what all but a hundredth of `answers` right validation answers reach."""

    threshold: float
    answers: int

    def compare(self, score: float) -> Familiarity:
        # Answers are kept in half precision, where all above 0.9998 is one: the score is brought to the same grid.
        return Familiarity(score, self.threshold, self.answers, bool(np.float16(score) >= self.threshold))


def usual_scores(run_dir: Path, step: int) -> UsualScores | None:
    """Of the validation answers kept at a checkpoint's step; None where there are none, or too few right ones."""
    kept = read_answers(run_dir, step)
    if kept is None:
        return None
    # An image's own class is the guess: told without its label, whose dataset may be gone.
    right = kept.top[kept.own == kept.top]
    if len(right) < LEAST:
        return None
    return UsualScores(float(np.quantile(right, SHARE, method="lower")), len(right))
