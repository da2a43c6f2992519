"""Out-of-distribution detection: compares a prediction's confidence with that of the correct validation predictions.

The score is the maximum softmax probability, and the threshold its 1st percentile over the correct validation
predictions (Hendrycks and Gimpel 2017, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in
Neural Networks"). This needs only what a run stores, and a probability is easy to understand. It errs both ways: 1% of
the correct predictions are below the threshold by construction, and a network can be confident about an image that is
unlike all its training data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.rundir.answers import read_answers

QUANTILE = 0.01  # of the correct validation predictions
LEAST = 100  # correct predictions that a 1st percentile needs


@dataclass(frozen=True)
class Familiarity:
    """`score` is the image's maximum softmax probability. `threshold` was computed from `answers` predictions."""

    score: float
    threshold: float
    answers: int
    familiar: bool


@dataclass(frozen=True)
class ConfidenceReference:
    """`threshold`: 1st percentile of the maximum softmax probability over `answers` correct validation predictions."""

    threshold: float
    answers: int

    def compare(self, score: float) -> Familiarity:
        # The predictions are stored as float16, where all values above 0.9998 are 1: round the score likewise.
        return Familiarity(score, self.threshold, self.answers, bool(np.float16(score) >= self.threshold))


def confidence_reference(run_dir: Path, step: int) -> ConfidenceReference | None:
    """Compute the reference from the predictions stored at a checkpoint's step; None: fewer than LEAST are correct."""
    kept = read_answers(run_dir, step)
    if kept is None:
        return None
    # Correct: the true class has the maximum probability. This needs no labels, whose dataset may be deleted.
    correct = kept.top[kept.own == kept.top]
    if len(correct) < LEAST:
        return None
    return ConfidenceReference(float(np.quantile(correct, QUANTILE, method="lower")), len(correct))
