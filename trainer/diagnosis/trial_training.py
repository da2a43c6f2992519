"""The checks that train for a while: one batch overfitted, and a run that sees nothing beside one that does."""

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

BATCH = 32
SECONDS = 60.0  # a network that has not overfitted a batch by then is told how far it came
TWIN_STEPS = 40
TWIN_LAST = 10  # steps whose mean is compared
TWIN_IMAGES = 64


class Copy:
    """A network with its optimiser, trained apart from the run: without weight decay, dropout or label smoothing."""

    def __init__(self, context: Context, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).train()
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        settings = context.spec.optimizer.model_copy(update={"weight_decay": 0.0})
        self.optimizers = Optimizers(settings, self.model, context.device)
        self.optimizers.set_rate(settings.lr)
        self._context = context

    def step(self, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        """One step; the loss before it, and the guesses int64 (B,)."""
        with self._context.autocast:
            logits = self.model(images)
        loss = batch_loss(self._context.spec, logits.float(), labels, plain=True)
        self.optimizers.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers.step()
        return loss.item(), logits.argmax(1)


def overfit_one_batch(context: Context, model: nn.Module, size: int) -> Finding:
    """Train on one fixed batch, nothing augmented, until it is known by heart or the budget of steps ends."""
    spec, data = context.spec, context.data
    count = min(BATCH, spec.batch_size, len(data.train_rows))
    rows = data.train_rows[torch.arange(count) * len(data.train_rows) // count]  # of all classes, in whatever order
    raw, labels = data.train.images[rows.to(data.train.images.device)].to(rows.device), data.train.labels[rows]
    images = network_input(raw, context.constants, size)
    trained = Copy(context, model)
    losses: list[float] = []
    known, began = False, time.monotonic()
    guesses = labels
    while not known and len(losses) < spec.thresholds.one_batch_steps and time.monotonic() - began < SECONDS:
        loss, guesses = trained.step(images, labels)
        losses.append(loss)
        if not math.isfinite(loss):
            break
        known = loss < spec.thresholds.one_batch_loss and bool((guesses == labels).all())
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
    if known:
        message = f"One batch of {len(labels)} images is known by heart after {len(losses)} steps."
        return Finding("check/one_batch", "pass", message, evidence)
    right = int((guesses == labels).sum())
    message = (
        f"One batch is not learned by heart: after {len(losses)} steps the loss is {losses[-1]:.3g} and {right} of "
        f"{len(labels)} are right. A network that cannot do this has a bug, or a learning rate far off."
    )
    return Finding("check/one_batch", "fail", message, evidence)


def twin_runs(context: Context, model: nn.Module, batches: Batches, size: int) -> Finding:
    """The run's first steps twice, once with all inputs zeroed: seeing must beat guessing."""
    positions = max(1, len(context.data.train_rows) // context.spec.batch_size)
    real, blind = Copy(context, model), Copy(context, model)
    curves: dict[str, list[float]] = {"real": [], "zeroed": []}
    for step in range(TWIN_STEPS):
        raw, labels, *_ = batches.take(step // positions, step % positions)
        images, labels = network_input(raw[:TWIN_IMAGES], context.constants, size), labels[:TWIN_IMAGES]
        curves["real"].append(real.step(images, labels)[0])
        curves["zeroed"].append(blind.step(torch.zeros_like(images), labels)[0])
    seen, unseen = (sum(curve[-TWIN_LAST:]) / len(curve[-TWIN_LAST:]) for curve in curves.values())
    lines = {
        name: [list(range(TWIN_STEPS)), [value if math.isfinite(value) else None for value in curve]]
        for name, curve in curves.items()
    }
    told = f"After {TWIN_STEPS} steps the loss is {seen:.3f} on the images and {unseen:.3f} with them zeroed"
    if seen < unseen:
        return Finding("check/twins", "pass", f"{told}: the network learns from what it sees.", {"lines": lines})
    return Finding("check/twins", "warn", f"{told}: it learns nothing from the images.", {"lines": lines})
