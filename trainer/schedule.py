"""How many steps a run takes and the learning rate of each: used by the loop and by the launch form. Free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainer.spec import TrainSpec


@dataclass(frozen=True)
class Plan:
    batch_size: int
    steps_per_epoch: int
    epochs: int
    total_steps: int

    def epoch_of(self, step: int) -> int:
        """Whole epochs done after `step` steps."""
        return step // self.steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        return step % self.steps_per_epoch == 0 or step == self.total_steps


def split_sizes(spec: TrainSpec, count: int) -> tuple[int, int]:
    """About how many of `count` training images are trained on and held out (exactly: data.split)."""
    held_out = round(count * spec.val_fraction)
    return count - held_out, held_out


def make_plan(spec: TrainSpec, train_count: int, extend_epochs: int = 0) -> Plan:
    """Plan for `train_count` images. An epoch's last partial batch is left out: its images come in the next order."""
    batch_size = min(spec.batch_size, train_count)
    steps_per_epoch = 1 if spec.overfit_one_batch else train_count // batch_size
    total = spec.epochs * steps_per_epoch
    if spec.max_steps is not None:
        total = min(total, spec.max_steps)
    total += extend_epochs * steps_per_epoch
    epochs = math.ceil(total / steps_per_epoch)
    return Plan(batch_size, steps_per_epoch, epochs, total)


def learning_rate(spec: TrainSpec, plan: Plan, step: int) -> float:
    """The rate of step `step`, counted from 0."""
    warmup = spec.schedule.warmup_epochs * plan.steps_per_epoch
    if step < warmup:
        return spec.optimizer.lr * (step + 1) / (warmup + 1)
    if spec.schedule.name == "cosine":
        done = (step - warmup) / max(1, plan.total_steps - warmup)
        return spec.optimizer.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return spec.optimizer.lr


def log_interval(spec: TrainSpec, plan: Plan) -> int:
    return spec.log_every or max(1, round(plan.steps_per_epoch / 200))


def is_logged(step: int, interval: int) -> bool:
    """Whether step `step` (from 1) is logged: the first ones all are, so that a curve starts at once."""
    return step <= 16 or step % interval == 0
