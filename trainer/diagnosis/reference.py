"""The loss of a network that knows only the class frequencies, and the lowest one possible. Does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.engine.class_balance import effective_weights
from trainer.spec.train_spec import TrainSpec

DRAWS = 2000  # of the mixing weight
BISECTIONS = 60
LEAST = 1e-12  # probability

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """Losses under the training objective, with its class weights, focal loss, label smoothing, sampling and mixing.

    `prior` is the loss of the best constant prediction: for cross-entropy the entropy of the class frequencies. Logit
    adjustment does not change it, since a constant prediction may make up for the shift.
    `floor` is the lowest loss that any prediction has. `uniform` is the plain loss of equal probabilities, that of an
    untrained network.
    """

    prior: float
    floor: float
    uniform: float

    @property
    def range(self) -> float:
        """The largest decrease of the loss that training can reach."""
        return max(self.prior - self.floor, 1e-9)


def reference(spec: TrainSpec, counts: npt.NDArray[np.int64]) -> Reference:
    """Return the reference losses for training images with these `counts` per class, int64 (C,)."""
    classes = len(counts)
    shares = counts / max(1, counts.sum())
    if spec.sampling == "balanced":
        shares = (counts > 0) / max(1, int(np.count_nonzero(counts)))
    if spec.loss == "mse":
        prior = float((shares * (1 - shares)).sum() / classes)
        return Reference(prior, 0.0, (1 - 1 / classes) / classes)
    weights = np.ones(classes)
    if spec.class_weights == "balanced":
        weights = counts.sum() / (classes * np.maximum(counts, 1))
    elif spec.class_weights == "effective":
        weights = effective_weights(counts, spec.effective_beta)
    smoothing, gamma = spec.label_smoothing, spec.focal_gamma
    weight = float((shares * weights).sum())
    constant = ((1 - smoothing) * shares * weights + smoothing / classes * weights) / weight
    if gamma:  # with labels that are neither smoothed nor mixed
        return Reference(_lowest_focal(constant, gamma), 0.0, math.log(classes))
    prior = _entropy(constant)
    targets = np.tile(smoothing / classes * weights, (classes, 1)) + np.diag((1 - smoothing) * weights)
    floor = (
        float(sum(share * _entropy(target) for share, target in zip(shares, targets, strict=True) if share)) / weight
    )
    mixed = (1 - smoothing) * _mixing_entropy(spec) * (1 - float((shares**2).sum()))
    return Reference(prior, min(prior, floor + mixed), math.log(classes))


def plain(spec: TrainSpec) -> TrainSpec:
    """The spec with plain cross-entropy as its objective, as copies of the network are trained with."""
    off = {"label_smoothing": 0.0, "class_weights": "none", "focal_gamma": 0.0, "logit_adjustment": 0.0}
    return spec.model_copy(update=off)


def _entropy(masses: npt.NDArray[np.float64]) -> float:
    """The cross-entropy of targets that may not add up to 1, as with class weights, and the best prediction."""
    kept = masses[masses > 0]
    return float(-(kept * np.log(kept / kept.sum())).sum())


def _mixing_entropy(spec: TrainSpec) -> float:
    """The mean entropy of the mixing weight of mixup or cutmix; 0 without them."""
    alphas = [alpha for alpha in (spec.augment.mixup, spec.augment.cutmix) if alpha]
    if not alphas:
        return 0.0
    drawn = np.random.default_rng(0).beta(alphas[0], alphas[0], DRAWS).clip(1e-9, 1 - 1e-9)
    return float(-(drawn * np.log(drawn) + (1 - drawn) * np.log(1 - drawn)).mean())


def _lowest_focal(masses: Floats, gamma: float) -> float:
    """The focal loss of the best constant prediction, where `masses` (C,) are the shares of the classes times their
    weights.

    The loss is convex in the probabilities, so that it falls equally steeply for each class at the best ones. That
    slope, and the probabilities that have it, are found by bisection.
    """
    low, high = 1e-30, 1e30
    for _ in range(BISECTIONS):
        slope = math.sqrt(low * high)
        is_flat = _with_slope(masses, slope, gamma).sum() > 1
        low, high = (slope, high) if is_flat else (low, slope)
    best = _with_slope(masses, high, gamma)
    return float((masses * (1 - best) ** gamma * -np.log(best)).sum())


def _with_slope(masses: Floats, slope: float, gamma: float) -> Floats:
    """The probabilities (C,) at which the focal loss of each class falls by `slope`."""
    low, high = np.full_like(masses, LEAST), np.full_like(masses, 1 - LEAST)
    for _ in range(BISECTIONS):
        p = np.sqrt(low * high)
        falls = masses * ((1 - p) ** gamma / p - gamma * (1 - p) ** (gamma - 1) * np.log(p))
        low, high = np.where(falls > slope, p, low), np.where(falls > slope, high, p)
    return low
