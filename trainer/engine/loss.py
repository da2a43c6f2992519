"""The training loss and training accuracy of a batch, with plain or mixed labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.engine.augment import Mixed
from trainer.engine.resident import ResidentData
from trainer.spec.train_spec import TrainSpec


@dataclass(frozen=True)
class ClassWeights:
    """`values` is float32 (C,), 1 on average over the training images, or None if all classes have equal weight."""

    values: Tensor | None

    @classmethod
    def of(cls, spec: TrainSpec, data: ResidentData) -> ClassWeights:
        if spec.class_weights == "none":
            return cls(None)
        counts = torch.bincount(data.train.labels[data.train_rows], minlength=data.num_classes)
        return cls((len(data.train_rows) / (data.num_classes * counts.clamp(min=1))).float())


def batch_loss(
    spec: TrainSpec,
    logits: Tensor,
    labels: Tensor,
    weights: ClassWeights = ClassWeights(None),
    mixed: Mixed | None = None,
    *,
    plain: bool = False,
) -> Tensor:
    """Mean loss of a batch. `plain` leaves out label smoothing, so that values are comparable."""
    if spec.loss == "mse":
        return F.mse_loss(logits, F.one_hot(labels, logits.shape[1]).to(logits.dtype))
    smoothing = 0.0 if plain else spec.label_smoothing
    if mixed is None:
        return F.cross_entropy(logits, labels, weights.values, label_smoothing=smoothing)
    own, other = (
        F.cross_entropy(logits, target, weights.values, reduction="none", label_smoothing=smoothing)
        for target in (labels, mixed.other_labels)
    )
    total = (mixed.weight * own + (1 - mixed.weight) * other).sum()
    if weights.values is None:
        return total / len(labels)
    # The mean over the weights of the labels, as cross_entropy takes it without mixing.
    shares = mixed.weight * weights.values[labels] + (1 - mixed.weight) * weights.values[mixed.other_labels]
    return total / shares.sum()


def count_correct(logits: Tensor, labels: Tensor, mixed: Mixed | None) -> Tensor:
    """Accuracy of a batch, a scalar on its device. Each label of a mixed image counts by its share."""
    predicted = logits.argmax(1)
    correct = (predicted == labels).float()
    if mixed is not None:
        correct = mixed.weight * correct + (1 - mixed.weight) * (predicted == mixed.other_labels)
    return correct.mean()
