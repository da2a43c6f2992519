"""The training loss and training accuracy of a batch, with plain or mixed labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.engine.augment import Mixed
from trainer.engine.class_balance import effective_weights
from trainer.engine.resident import ResidentData
from trainer.spec.train_spec import TrainSpec

LEAST_REST = 1e-12  # of 1 − p in the focal loss, whose gradient is infinite at 0 if gamma is below 1


@dataclass(frozen=True)
class ClassBalance:
    """What the loss takes from the number of training images of each class.

    `weights` float32 (C,), 1 on average over the training images; None if all classes have equal weight. `shift`
    float32 (C,) is added to the logits; None if nothing is.
    """

    weights: Tensor | None = None
    shift: Tensor | None = None

    @classmethod
    def of(cls, spec: TrainSpec, data: ResidentData) -> ClassBalance:
        if spec.class_weights == "none" and not spec.logit_adjustment:
            return cls()
        counts = torch.bincount(data.train.labels[data.train_rows], minlength=data.num_classes).clamp(min=1)
        if spec.class_weights == "balanced":
            return cls((len(data.train_rows) / (data.num_classes * counts)).float())
        if spec.class_weights == "effective":
            weights = effective_weights(counts.cpu().numpy(), spec.effective_beta)
            return cls(torch.from_numpy(weights).float().to(counts.device))
        return cls(shift=spec.logit_adjustment * (counts / counts.sum()).log())


def batch_loss(
    spec: TrainSpec,
    logits: Tensor,
    labels: Tensor,
    balance: ClassBalance = ClassBalance(),
    mixed: Mixed | None = None,
    *,
    image_weights: Tensor | None = None,
    plain: bool = False,
) -> Tensor:
    """Mean loss of a batch, over the weights of its images, float32 (B,), if they have any.

    `plain` leaves out label smoothing and the focal factor, so that values are comparable.
    """
    if spec.loss == "mse":
        targets = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
        if image_weights is None:
            return F.mse_loss(logits, targets)
        each = F.mse_loss(logits, targets, reduction="none").mean(1)
        return _mean(image_weights * each, image_weights)
    smoothing, gamma = (0.0, 0.0) if plain else (spec.label_smoothing, spec.focal_gamma)
    weights = balance.weights
    if balance.shift is not None:
        logits = logits + balance.shift
    if mixed is None and image_weights is None and not gamma:
        return F.cross_entropy(logits, labels, weights, label_smoothing=smoothing)
    total = torch.zeros((), device=logits.device)
    for target, count in _counts(labels, mixed, image_weights):
        if gamma:
            losses = focal_losses(logits, target, weights, gamma)
        else:
            losses = F.cross_entropy(logits, target, weights, reduction="none", label_smoothing=smoothing)
        total = total + (count * losses).sum()
    return _mean(total, loss_weight(labels, balance, mixed, image_weights))


def loss_weight(labels: Tensor, balance: ClassBalance, mixed: Mixed | None, image_weights: Tensor | None) -> Tensor:
    """What a batch counts beside others: the weights of its images and of their classes, over which `batch_loss` takes
    the mean, as torch's cross_entropy does. A float32 scalar."""
    total = torch.zeros((), device=labels.device)
    for target, count in _counts(labels, mixed, image_weights):
        total = total + (count if balance.weights is None else count * balance.weights[target]).sum()
    return total


def _counts(labels: Tensor, mixed: Mixed | None, image_weights: Tensor | None) -> list[tuple[Tensor, Tensor]]:
    """What each image counts by its own label and, if mixed, by that of the previous image of the batch."""
    own = torch.ones_like(labels, dtype=torch.float32) if image_weights is None else image_weights
    if mixed is None:
        return [(labels, own)]
    other = own.roll(1) if mixed.other_image_weights is None else mixed.other_image_weights
    return [(labels, mixed.weight * own), (mixed.other_labels, (1 - mixed.weight) * other)]


def focal_losses(logits: Tensor, labels: Tensor, weights: Tensor | None, gamma: float) -> Tensor:
    """The focal loss (Lin et al. 2017) of each image, float32 (B,): −(1 − p)^gamma · log p of its class's probability,
    times the class's weight.
    """
    logs = -F.cross_entropy(logits.float(), labels, reduction="none")
    losses = -((-logs.expm1()).clamp(min=LEAST_REST) ** gamma) * logs
    return losses if weights is None else losses * weights[labels]


def _mean(totals: Tensor, shares: Tensor) -> Tensor:
    return totals.sum() / shares.sum().clamp(min=1e-12)  # 0 if no image of the batch counts


def count_correct(logits: Tensor, labels: Tensor, mixed: Mixed | None) -> Tensor:
    """Accuracy of a batch, a scalar on its device. Each label of a mixed image counts by its share."""
    predicted = logits.argmax(1)
    correct = (predicted == labels).float()
    if mixed is not None:
        correct = mixed.weight * correct + (1 - mixed.weight) * (predicted == mixed.other_labels)
    return correct.mean()
