"""The loss of a network that knows only the class frequencies, and the lowest one possible. Does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.spec.train_spec import TrainSpec

DRAWS = 2000  # of the mixing weight


@dataclass(frozen=True)
class Reference:
    """Losses under the training objective, with its class weights, label smoothing and mixing.

    `prior` is the loss of the best constant prediction: for cross-entropy the entropy of the class frequencies.
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
    if spec.loss == "mse":
        prior = float((shares * (1 - shares)).sum() / classes)
        return Reference(prior, 0.0, (1 - 1 / classes) / classes)
    weights = np.ones(classes)
    if spec.class_weights == "balanced":
        weights = counts.sum() / (classes * np.maximum(counts, 1))
    smoothing = spec.label_smoothing
    weight = float((shares * weights).sum())
    prior = _entropy(((1 - smoothing) * shares * weights + smoothing / classes * weights) / weight)
    targets = np.tile(smoothing / classes * weights, (classes, 1)) + np.diag((1 - smoothing) * weights)
    floor = (
        float(sum(share * _entropy(target) for share, target in zip(shares, targets, strict=True) if share)) / weight
    )
    mixed = (1 - smoothing) * _mixing_entropy(spec) * (1 - float((shares**2).sum()))
    return Reference(prior, min(prior, floor + mixed), math.log(classes))


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
