"""Calibration: how far a model's probabilities are from the shares that are right, and a temperature that corrects it.

Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from trainer.rundir.calibration import Bin, Reliability

BINS = 15
FEWEST_IMAGES = 50
_SHARPEST, _FLATTEST = 4.0, 0.05  # bounds of 1 / temperature
_ITERATIONS = 100
_DRAWS = 1000


def fit_temperature(log_probabilities: Tensor, labels: Tensor) -> float | None:
    """The temperature that the logits are best divided by: it minimizes the log loss on (n, C) log-probabilities and
    int64 (n,) labels. None for fewer than FEWEST_IMAGES images.

    The loss is convex in 1 / temperature. That is kept within 0.05 and 4: where all images are right, it has no limit.
    """
    if len(labels) < FEWEST_IMAGES:
        return None
    logits = log_probabilities.cpu().double().clamp(min=-1e4)
    own = logits.gather(1, labels.cpu()[:, None]).squeeze(1)
    low, high = _FLATTEST, _SHARPEST
    for _ in range(_ITERATIONS):  # the slope of the loss rises with 1 / temperature: bisection finds where it is 0
        middle = (low + high) / 2
        expected = ((logits * middle).softmax(1) * logits).sum(1)
        if (expected - own).mean().item() > 0:
            high = middle
        else:
            low = middle
    return 2 / (low + high)


def tempered(log_probabilities: Tensor, temperature: float) -> Tensor:
    """The log-probabilities (n, C) of logits divided by the temperature."""
    return (log_probabilities / temperature).log_softmax(1)


def reliability(log_probabilities: Tensor, labels: Tensor) -> Reliability:
    """Compare the probability of the predicted class with the share that is right, in BINS bins of equal width.

    `log_probabilities` (n, C), `labels` int64 (n,). The expected calibration error is the mean difference, weighted by
    the images of the bins.
    """
    top, guess = log_probabilities.max(1)
    return reliability_of(top.exp().cpu().double().numpy(), (guess == labels).cpu().numpy())


def reliability_of(top: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> Reliability:
    """`top` (n,): the probability of each predicted class; `right` (n,): whether it is the image's class."""
    place = np.clip(np.ceil(top * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    known = counts > 0
    confidence = np.bincount(place, top, BINS)[known] / counts[known]
    accuracy = np.bincount(place, right, BINS)[known] / counts[known]
    gaps, weights = confidence - accuracy, counts[known] / len(top)
    error = float(weights @ np.abs(gaps))
    low, high = _interval(gaps, accuracy, counts[known], weights, error)
    bins = [
        Bin(count=int(count), confidence=float(stated), accuracy=float(found))
        for count, stated, found in zip(counts[known], confidence, accuracy, strict=True)
    ]
    return Reliability(ece=error, low=low, high=high, overconfidence=float(top.mean() - right.mean()), bins=bins)


def _interval(
    gaps: npt.NDArray[np.float64],
    accuracy: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    error: float,
) -> tuple[float, float]:
    """The 95% interval of the error that many images would show.

    Chance moves every gap away from 0, so that the error of few images is too large. The interval holds the errors
    share × `error` with which the measured one is no surprise: gaps of share × those measured, moved by chance, give an
    error that is as large, and as small, in more than 2.5% of draws.
    """
    smoothed = (accuracy * counts + 0.5) / (counts + 1)  # a bin with all images right still has a spread
    spread = np.sqrt(smoothed * (1 - smoothed) / counts)
    chance = np.random.default_rng(0).normal(0, spread, (_DRAWS, len(gaps)))
    shares = np.linspace(0, 2, 81)
    draws = [np.quantile(np.abs(share * gaps + chance) @ weights, [0.025, 0.975]) for share in shares]
    below, above = np.maximum.accumulate(np.array(draws)).T  # they rise with the share, but for the draws' chance
    return float(np.interp(error, above, shares)) * error, max(1.0, float(np.interp(error, below, shares))) * error
