"""The training loss and the share of right answers of a batch, whatever its labels were made of."""

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
    """float32 (C,), 1 on average over the training images, or None where all classes count alike."""

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
    """Mean loss of a batch; `plain` leaves label smoothing out, so that values compare."""
    if spec.loss == "mse":
        return F.mse_loss(logits, F.one_hot(labels, logits.shape[1]).to(logits.dtype))
    smoothing = 0.0 if plain else spec.label_smoothing
    if mixed is None:
        return F.cross_entropy(logits, labels, weights.values, label_smoothing=smoothing)
    own, other = (
        F.cross_entropy(logits, target, weights.values, reduction="none", label_smoothing=smoothing)
        for target in (labels, mixed.other_labels)
    )
    return (mixed.weight * own + (1 - mixed.weight) * other).mean()


def right_answers(logits: Tensor, labels: Tensor, mixed: Mixed | None) -> Tensor:
    """The share of the batch whose likeliest class is right; of a mixed image each label counts by its share."""
    guess = logits.argmax(1)
    right = (guess == labels).float()
    if mixed is not None:
        right = mixed.weight * right + (1 - mixed.weight) * (guess == mixed.other_labels)
    return right.mean()
