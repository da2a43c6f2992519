"""Pre-training checks that train copies of the network: one-batch overfitting and the input-independent baseline."""

from __future__ import annotations

import copy
import math
import time

import torch
from torch import Tensor, nn

from trainer.diagnosis.findings import Finding
from trainer.engine.batches import Batches
from trainer.engine.contact_sheet import save_sheet
from trainer.engine.context import Context
from trainer.engine.loss import batch_loss
from trainer.engine.optim import Optimizers
from trainer.models.inputs import network_input
from trainer.rundir.folder import RunDir
from trainer.spec.optimizer_spec import OptimizerSpec

BATCH = 32  # images of the batch to overfit
SECONDS = 60.0  # time limit of the one-batch check; where it ends the check, nothing is judged
BASELINE_STEPS = 40
BASELINE_LAST = 10  # last steps, whose mean losses are compared
BASELINE_IMAGES = 64  # images per step at most


class Copy:
    """A copy of the network with its own optimizer, trained without weight decay, dropout and label smoothing.

    `settings` replace the run's optimizer settings. `dropout` keeps the dropout.
    """

    def __init__(
        self, context: Context, model: nn.Module, settings: OptimizerSpec | None = None, *, dropout: bool = False
    ) -> None:
        self.model = copy.deepcopy(model).train()
        for module in self.model.modules():
            if isinstance(module, nn.Dropout) and not dropout:
                module.p = 0.0
        settings = (settings or context.spec.optimizer).model_copy(update={"weight_decay": 0.0})
        self.optimizers = Optimizers(settings, self.model, context.device)
        self.optimizers.set_rate(settings.lr)
        self._context = context

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._forward(images, labels)[0]

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with self._context.autocast:
            logits = self.model(images)
        return batch_loss(self._context.spec, logits.float(), labels, plain=True), logits

    def step(self, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        """Take one step; return the loss before it and the predictions, int64 (B,)."""
        loss, logits = self._forward(images, labels)
        self.optimizers.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers.step()
        return loss.item(), logits.argmax(1)


def overfit_one_batch(context: Context, model: nn.Module, size: int) -> Finding:
    """Train on one fixed batch without augmentation until it is memorized.

    Stops early at a loss that is not finite, after `thresholds.one_batch_steps` steps or after SECONDS seconds.
    """
    spec, data = context.spec, context.data
    count = min(BATCH, spec.batch_size, len(data.train_rows))
    # Evenly spaced rows, so that all classes occur even if the rows are sorted by class.
    rows = data.train_rows[torch.arange(count) * len(data.train_rows) // count]
    raw, labels = data.train.images[rows.to(data.train.images.device)].to(rows.device), data.train.labels[rows]
    images = network_input(raw, context.constants, size)
    trained = Copy(context, model)
    losses: list[float] = []
    memorized, began = False, time.monotonic()
    guesses = labels
    while not memorized and len(losses) < spec.thresholds.one_batch_steps and time.monotonic() - began < SECONDS:
        loss, guesses = trained.step(images, labels)
        losses.append(loss)
        if not math.isfinite(loss):
            break
        memorized = loss < spec.thresholds.one_batch_loss and bool((guesses == labels).all())
    picture = RunDir(context.run_dir).check_picture("one_batch")
    sheet = save_sheet(picture, raw.permute(0, 3, 1, 2).float() / 255)
    drawn = [value if math.isfinite(value) else None for value in losses]
    evidence = {
        "lines": {"loss": [list(range(len(losses))), drawn]},
        "threshold": spec.thresholds.one_batch_loss,
        "sheet": sheet,
        "labels": labels.tolist(),
        "guesses": guesses.tolist(),
    }
    if memorized:
        message = f"One batch of {len(labels)} images is memorized after {len(losses)} steps."
        return Finding("check/one_batch", "pass", message, evidence)
    right = int((guesses == labels).sum())
    reached = f"after {len(losses)} steps the loss is {losses[-1]:.3g} and {right} of {len(labels)} are right"
    if len(losses) < spec.thresholds.one_batch_steps and math.isfinite(losses[-1]):
        return Finding("check/one_batch", "look", f"Unfinished: {len(losses)} steps. {reached.capitalize()}.", evidence)
    message = (
        f"One batch is not memorized: {reached} (threshold: loss {spec.thresholds.one_batch_loss:g}, all right). The "
        "network has a bug, or the learning rate does not fit it."
    )
    return Finding("check/one_batch", "fail", message, evidence)


def twin_runs(context: Context, model: nn.Module, batches: Batches, size: int) -> Finding:
    """Train two copies on the run's first batches, one of them with zeroed images (input-independent baseline).

    Passes if the mean loss on the images is below the baseline's.
    """
    positions = max(1, len(context.data.train_rows) // context.spec.batch_size)
    real, baseline = Copy(context, model), Copy(context, model)
    curves: dict[str, list[float]] = {"real": [], "zeroed": []}
    for step in range(BASELINE_STEPS):
        raw, labels, *_ = batches.take(step // positions, step % positions)
        images, labels = network_input(raw[:BASELINE_IMAGES], context.constants, size), labels[:BASELINE_IMAGES]
        curves["real"].append(real.step(images, labels)[0])
        curves["zeroed"].append(baseline.step(torch.zeros_like(images), labels)[0])
    real_loss, baseline_loss = (sum(curve[-BASELINE_LAST:]) / len(curve[-BASELINE_LAST:]) for curve in curves.values())
    lines = {
        name: [list(range(BASELINE_STEPS)), [value if math.isfinite(value) else None for value in curve]]
        for name, curve in curves.items()
    }
    comparison = (
        f"After {BASELINE_STEPS} steps the loss is {real_loss:.3f} on the images "
        f"and {baseline_loss:.3f} with them zeroed"
    )
    if real_loss < baseline_loss:
        return Finding("check/twins", "pass", f"{comparison}: the network learns from the images.", {"lines": lines})
    message = f"{comparison}: in these steps it learns nothing from the images."
    return Finding("check/twins", "look", message, {"lines": lines})
