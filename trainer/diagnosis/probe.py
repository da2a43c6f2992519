"""Experiments on copies: a few steps on one fixed batch, at the chosen learning rate and at others.

A network that can learn lowers the loss of a single batch within a few steps. If it does not at the chosen rate but
does at a lower or a higher one, the rate is wrong, whatever the dataset.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.diagnosis.trial_training import Copy
from trainer.engine.batches import Batches
from trainer.engine.context import Context
from trainer.models.build import count_flops
from trainer.models.inputs import network_input
from trainer.spec.optimizer_spec import OptimizerSpec

STEPS = 8
FEWEST, MOST = 8, 32  # images
PROBE_FLOPS = 100_000_000_000  # about a second on two processor cores
LONG_STEP, SHORT_STEP = 0.15, 0.03  # first step / weights, in norms: too long, and acceptable
LAST = 20  # steps of a trial whose losses are compared
LOWER = (0.1, 0.01, 1e-3)
HIGHER = (10.0, 100.0, 1e3, 1e4)
JUMP = 1.4  # times the first loss: a jump
LEVEL = 1.2  # times the first loss: no jump
FALL = 0.05  # share of the loss by which it has to fall
MUCH_FURTHER = 1.5


def probe_images(model: nn.Module, size: int) -> int:
    """The images of a probe's batch: fewer where the network is large, so that a probe stays within PROBE_FLOPS."""
    per_image = 3 * STEPS * count_flops(model, size)  # a step is a forward and a backward pass
    return max(FEWEST, min(MOST, PROBE_FLOPS // max(1, per_image)))


@dataclass(frozen=True)
class Descent:
    """The loss of one batch before each of STEPS steps and after the last, at `rate`."""

    rate: float
    losses: tuple[float, ...]
    first_step: float = 0.0
    """Size of the first step as a share of the weights', in norms."""

    @property
    def fall(self) -> float:
        """The decrease as a share of the first loss; −inf if a loss is not finite."""
        if not all(map(math.isfinite, self.losses)):
            return -math.inf
        return 1 - self.losses[-1] / max(self.losses[0], 1e-9)

    @property
    def height(self) -> float:
        """The highest loss as a multiple of the first; inf if a loss is not finite."""
        highest = max(self.losses) if all(map(math.isfinite, self.losses)) else math.inf
        return highest / max(self.losses[0], 1e-9)

    @property
    def jumps(self) -> bool:
        return self.height > JUMP

    def is_smoother_than(self, other: Descent) -> bool:
        """Whether the loss falls without a jump here, and clearly further than in `other`."""
        further = self.fall > max(MUCH_FURTHER * other.fall, other.fall + FALL)
        return self.falls and self.height < LEVEL and further

    @property
    def falls(self) -> bool:
        return self.fall > FALL

    @property
    def line(self) -> list[list[float | None]]:
        """The losses as a plot's line."""
        drawn: list[float | None] = [loss if math.isfinite(loss) else None for loss in self.losses]
        return [[float(step) for step in range(len(drawn))], drawn]


@dataclass(frozen=True)
class RateProbe:
    """The descents at the chosen rate, and at others if the loss does not fall there.

    `better` is the descent at a rate that suits: the highest lower one at which the loss falls where it jumps at the
    chosen one, or the higher one with the steepest descent where it hardly falls at the chosen one.
    """

    chosen: Descent
    better: Descent | None

    @property
    def is_too_high(self) -> bool:
        return self.better is not None and self.better.rate < self.chosen.rate

    @property
    def is_too_low(self) -> bool:
        return self.better is not None and self.better.rate > self.chosen.rate


@dataclass(frozen=True)
class Bench:
    """What experiments are made with: a network, never changed itself, and one batch of images and labels."""

    context: Context
    model: nn.Module
    images: Tensor
    labels: Tensor

    def descend(self, settings: OptimizerSpec | None = None, *, dropout: bool = False, steps: int = STEPS) -> Descent:
        """Train a copy on the batch for some steps."""
        settings = settings or self.context.spec.optimizer
        copied = Copy(self.context, self.model, settings, dropout=dropout)
        losses: list[float] = []
        first_step = 0.0
        for step in range(steps):
            before = None if step else [parameter.detach().clone() for parameter in copied.optimizers.parameters]
            losses.append(copied.step(self.images, self.labels)[0])
            if before is not None:
                first_step = _relative_change(before, copied.optimizers.parameters)
            if not math.isfinite(losses[-1]):
                break
        else:
            with torch.no_grad():
                losses.append(copied.loss(self.images, self.labels).item())
        return Descent(settings.lr, tuple(losses), first_step)

    def trial(self, factor: float, batch_size: int, steps: int) -> Descent:
        """Train a copy on the run's first batches, at a multiple of the rate; the losses of its last steps."""
        rate = rounded(self.context.spec.optimizer.lr * factor)
        copied = Copy(self.context, self.model, self.context.spec.optimizer.model_copy(update={"lr": rate}))
        batches, losses = Batches(self.context, batch_size), []
        per_epoch = max(1, len(self.context.data.train_rows) // batch_size)
        for step in range(steps):
            raw, labels, *_ = batches.take(*divmod(step, per_epoch))
            losses.append(copied.step(network_input(raw, self.context.constants, self.context.full_size), labels)[0])
        return Descent(rate, tuple(losses[-LAST:]))

    def at_rate(self, factor: float, *, steps: int = STEPS) -> Descent:
        settings = self.context.spec.optimizer
        rate = rounded(settings.lr * factor)
        return self.descend(settings.model_copy(update={"lr": rate}), steps=steps)


def probe_rate(bench: Bench, *, downward: bool = True, upward: bool = False, steps: int = STEPS) -> RateProbe:
    """Look for a better rate: below the chosen one if the loss jumps there, above it if the loss hardly falls."""
    chosen = bench.at_rate(1.0, steps=steps)
    if downward and chosen.jumps:
        lower = (bench.at_rate(factor, steps=steps) for factor in LOWER)
        better = next((descent for descent in lower if descent.is_smoother_than(chosen)), None)
        if better is not None:
            return RateProbe(chosen, better)
    if downward and chosen.first_step > LONG_STEP and bench.context.spec.optimizer.name != "muon":
        factor = next((factor for factor in LOWER if factor * chosen.first_step <= SHORT_STEP), LOWER[-1])
        return RateProbe(chosen, bench.at_rate(factor, steps=steps))
    if upward and not chosen.jumps and not chosen.falls:
        return RateProbe(chosen, _steepest(lambda factor: bench.at_rate(factor, steps=steps), chosen))
    return RateProbe(chosen, None)


def _steepest(at_rate: Callable[[float], Descent], chosen: Descent) -> Descent | None:
    """The descent at the lowest higher rate that falls by at least half of the steepest one's fall."""
    tried: list[Descent] = []
    for factor in HIGHER:
        tried.append(at_rate(factor))
        if tried[-1].jumps or tried[-1].fall == -math.inf:
            break
    steepest = max(descent.fall for descent in tried)
    if steepest < max(FALL, 3 * chosen.fall):
        return None
    return next(descent for descent in tried if descent.fall >= 0.5 * steepest)


def _relative_change(before: list[Tensor], after: list[nn.Parameter]) -> float:
    moved = sum((new.detach() - old).square().sum().item() for new, old in zip(after, before, strict=True))
    weights = sum(old.square().sum().item() for old in before)
    return math.sqrt(moved / max(weights, 1e-24))


def rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
