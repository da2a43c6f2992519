"""The gradients of a step: its images enter the network at once, or in parts that fit the device's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainer.engine.augment import Mixed
from trainer.engine.combining import combine
from trainer.engine.context import Context
from trainer.engine.loss import ClassBalance, batch_loss, count_correct, loss_weight
from trainer.engine.trainee import Trainee

LEAST_IMAGES = 2  # per part, for BatchNorm


@dataclass(frozen=True)
class Batch:
    """The input of a step: `images`, float B×3×H×W, or float B×F for cached features, as they were before they were
    `mixed`; `labels` int64 (B,); `weights` float32 (B,) of the images in the loss, None if all count the same.
    """

    images: Tensor
    labels: Tensor
    mixed: Mixed | None
    weights: Tensor | None

    def part(self, chosen: slice) -> Batch:
        mixed, weights = self.mixed, self.weights
        if mixed is not None:
            others = None if weights is None else weights.roll(1)[chosen]
            mixed = Mixed(mixed.images[chosen], mixed.other_labels[chosen], mixed.weight[chosen], others)
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            mixed=mixed,
            weights=None if weights is None else weights[chosen],
        )


def gradients(
    context: Context, trainee: Trainee, forward: Callable[[Tensor], Tensor], batch: Batch, balance: ClassBalance
) -> tuple[Tensor, Tensor]:
    """Set the gradients of the batch's mean loss; return that loss and the accuracy, scalars on the device.

    With gradient accumulation they are sums over parts of the batch. They equal those of the whole batch but for
    rounding, if the network has no BatchNorm: that takes the mean and deviation of each part.
    """
    trainee.optimizers.zero_grad()
    count = min(context.spec.gradient_accumulation, len(batch.labels) // LEAST_IMAGES)
    if context.ranks.are_several:
        return _gradients_of_ranks(context, trainee, forward, batch, balance, max(1, count))
    if count <= 1:
        loss, logits = _forward(context, forward, batch, balance)
        trainee.backward(loss)
        return loss.detach(), count_correct(logits, batch.labels, batch.mixed)
    losses, correct = [], []
    whole = loss_weight(batch.labels, balance, batch.mixed, batch.weights).clamp(min=1e-12)
    for part in _parts(batch, count):
        loss, logits = _forward(context, forward, part, balance)
        loss = loss * (loss_weight(part.labels, balance, part.mixed, part.weights) / whole)
        trainee.backward(loss)
        losses.append(loss.detach())
        correct.append(count_correct(logits, part.labels, part.mixed) * (len(part.labels) / len(batch.labels)))
    return torch.stack(losses).sum(), torch.stack(correct).sum()


def _gradients_of_ranks(
    context: Context,
    trainee: Trainee,
    forward: Callable[[Tensor], Tensor],
    batch: Batch,
    balance: ClassBalance,
    count: int,
) -> tuple[Tensor, Tensor]:
    """`gradients` where `batch` is this rank's part of one, divided into `count` parts: those of the whole batch."""
    size = len(batch.labels) * context.ranks.size
    losses, correct, weights = [], [], []
    for part in _parts(batch, count):
        loss, logits = _forward(context, forward, part, balance)
        weight = loss_weight(part.labels, balance, part.mixed, part.weights)
        loss = loss * (weight / size)
        trainee.backward(loss)
        losses.append(loss.detach())
        weights.append(weight)
        correct.append(count_correct(logits, part.labels, part.mixed) * (len(part.labels) / size))
    figures = torch.stack([torch.stack(each).sum().float() for each in (losses, correct, weights)])
    weighted = balance.weights is not None or batch.weights is not None
    return combine(context.ranks, trainee.stepped, figures, size, weighted=weighted)


def _forward(
    context: Context, forward: Callable[[Tensor], Tensor], batch: Batch, balance: ClassBalance
) -> tuple[Tensor, Tensor]:
    images = batch.images if batch.mixed is None else batch.mixed.images
    with context.autocast:
        logits = forward(context.runtime.laid_out(images))
        loss = batch_loss(context.spec, logits, batch.labels, balance, batch.mixed, image_weights=batch.weights)
    return loss, logits


def _parts(batch: Batch, count: int) -> Iterator[Batch]:
    """`count` parts of nearly equal size, the larger ones first."""
    size, larger = divmod(len(batch.labels), count)
    start = 0
    for number in range(count):
        stop = start + size + (number < larger)
        yield batch.part(slice(start, stop))
        start = stop
