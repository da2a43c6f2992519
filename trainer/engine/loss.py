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
    image_weights: Tensor | None = None,
    plain: bool = False,
) -> Tensor:
    """Mean loss of a batch, over the weights of its images, float32 (B,), if they have any.

    `plain` leaves out label smoothing, so that values are comparable.
    """
    if spec.loss == "mse":
        targets = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
        if image_weights is None:
            return F.mse_loss(logits, targets)
        each = F.mse_loss(logits, targets, reduction="none").mean(1)
        return _mean(image_weights * each, image_weights)
    smoothing = 0.0 if plain else spec.label_smoothing
    if mixed is None and image_weights is None:
        return F.cross_entropy(logits, labels, weights.values, label_smoothing=smoothing)
    # What each image counts by its own label and, if mixed, by that of the previous image of the batch.
    ones = torch.ones_like(labels, dtype=torch.float32) if image_weights is None else image_weights
    counts = [(labels, ones)]
    if mixed is not None:
        counts = [(labels, mixed.weight * ones), (mixed.other_labels, (1 - mixed.weight) * ones.roll(1))]
    total, shares = torch.zeros((), device=logits.device), torch.zeros((), device=logits.device)
    for target, count in counts:
        losses = F.cross_entropy(logits, target, weights.values, reduction="none", label_smoothing=smoothing)
        total = total + (count * losses).sum()
        # The mean over the weights of the labels, as cross_entropy takes it by itself.
        shares = shares + (count if weights.values is None else count * weights.values[target]).sum()
    return _mean(total, shares)


def _mean(totals: Tensor, shares: Tensor) -> Tensor:
    return totals.sum() / shares.sum().clamp(min=1e-12)  # 0 if no image of the batch counts


def count_correct(logits: Tensor, labels: Tensor, mixed: Mixed | None) -> Tensor:
    """Accuracy of a batch, a scalar on its device. Each label of a mixed image counts by its share."""
    predicted = logits.argmax(1)
    correct = (predicted == labels).float()
    if mixed is not None:
        correct = mixed.weight * correct + (1 - mixed.weight) * (predicted == mixed.other_labels)
    return correct.mean()
