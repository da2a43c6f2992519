"""A training step of one rank: its images from the stored ones to the network, the gradients, and the update."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch import Tensor

from trainer.engine.augment import mix
from trainer.engine.batches import Batches
from trainer.engine.compiling import Passes
from trainer.engine.context import Context
from trainer.engine.gradients import Batch, gradients
from trainer.engine.loss import ClassBalance
from trainer.engine.trainee import Trainee
from trainer.models.inputs import Inputs


class Stepper:
    def __init__(self, context: Context, trainee: Trainee, batch_size: int) -> None:
        spec = context.spec
        self._context, self._trainee = context, trainee
        self._batches = Batches(context, batch_size, context.ranks)
        self.whole_batches = Batches(context, batch_size) if context.ranks.are_several else self._batches
        self.balance = ClassBalance.of(spec, context.data)
        self.passes = Passes(trainee.stepped)
        placed = spec.augment.placed_size(context.data.record.size, context.full_size)
        self._inputs = Inputs(context.constants, placed)

    def gradients(
        self, epoch: int, position: int, size: int, building: AbstractContextManager[None]
    ) -> tuple[Tensor, Tensor]:
        """Set the gradients of a batch, on images of `size` × `size` pixels; return its mean loss and its accuracy.

        `building` surrounds the forward and the backward pass.
        """
        raw, labels, draws, chosen = self._batches.take(epoch, position)
        images = self._inputs(raw, size)
        mixed = mix(self._context.spec.augment, images, labels, draws, chosen)
        self._trainee.train()
        batch = Batch(images, labels, mixed, self._batches.weights(chosen))
        if self._batches.is_led:
            batch = batch.part(slice(1, None))
        with building:
            return gradients(self._context, self._trainee, self.passes, batch, self.balance)

    def update(self, step: int) -> None:
        """Take the optimizers' step, as the one after `step` steps."""
        self._trainee.optimizers.step(self._trainee.scaler)
        self._trainee.update_average(step)
