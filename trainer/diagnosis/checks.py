"""Pre-training checks on copies of the network (Karpathy 2019, "A Recipe for Training Neural Networks").

They do not change the run's weights, sample order or random state.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.diagnosis.findings import Finding, Level, Remedy, tell
from trainer.diagnosis.trial_training import overfit_one_batch, twin_runs
from trainer.engine.augment import mix
from trainer.engine.batches import Batches
from trainer.engine.contact_sheet import save_sheet
from trainer.engine.context import Context
from trainer.engine.loss import batch_loss
from trainer.engine.optim import Optimizers
from trainer.errors import TrainerError
from trainer.models.inputs import network_input
from trainer.rundir.folder import RunDir

IMAGES = 32  # images per check
LARGE = 96  # pixels per side; above it the checks use LARGE_IMAGES images
LARGE_IMAGES = 8
BLANK = 0.01  # standard deviation of normalized pixels below which images are blank; about 1 is normal


@dataclass(frozen=True)
class Subject:
    """The input of the checks: the network, its input tensor `images` (float B×3×H×W), and their `labels` (B,)."""

    context: Context
    model: nn.Module
    images: Tensor
    labels: Tensor

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        with self.context.autocast:
            logits: Tensor = model(images)
        return logits.float()

    def loss(self, model: nn.Module, images: Tensor) -> Tensor:
        return batch_loss(self.context.spec, self.logits(model, images), self.labels, plain=True)


class CheckFailed(TrainerError):
    """A pre-training check failed, and the spec has `stop_on_failed_checks` set."""

    code = "check_failed"

    def __init__(self, message: str) -> None:
        super().__init__(f"A check before the first step failed. {message}")


def check(context: Context, model: nn.Module, batches: Batches, size: int, *, fresh: bool) -> None:
    """Run the checks that the spec selects, and write the event of each finding once its check ends.

    `fresh` says that the weights are randomly initialized. `size` is the image size of the first step in pixels.
    Raises CheckFailed when a check fails and the spec has `stop_on_failed_checks` set.
    """
    raw, labels, draws, chosen = batches.take(0, 0)
    count = IMAGES if size <= LARGE else LARGE_IMAGES
    images = network_input(raw[:count], context.constants, size)
    mixed = mix(context.spec.augment, images, labels[:count], draws, chosen[:count])
    inputs = images if mixed is None else mixed.images
    subject = Subject(context, model, inputs, labels[:count])
    device = context.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for finding in _findings(subject, batches, size, fresh=fresh):
            tell(context.events, 0, finding)
            if finding.level == "fail" and context.spec.stop_on_failed_checks:
                raise CheckFailed(finding.message)


def _findings(subject: Subject, batches: Batches, size: int, *, fresh: bool) -> Iterator[Finding]:
    yield input_batch(subject)
    if fresh:
        yield initial_loss(subject)
    yield logit_range(subject)
    yield zeroed_input(subject)
    yield batch_independence(subject)
    if subject.context.spec.checks == "full":
        yield overfit_one_batch(subject.context, subject.model, size)
        yield twin_runs(subject.context, subject.model, batches, size)


def input_batch(subject: Subject) -> Finding:
    """Save the input batch as a contact sheet and check that the images are not blank."""
    images = subject.images.float()
    mean, std = (value.view(1, 3, 1, 1) for value in subject.context.constants)
    picture = RunDir(subject.context.run_dir).check_picture("input")
    sheet = save_sheet(picture, (images * std + mean).clamp(0, 1))
    means, deviations = images.mean((0, 2, 3)).tolist(), images.std((0, 2, 3)).tolist()
    evidence = {
        "mean": means,
        "deviation": deviations,
        "sheet": sheet,
        "labels": subject.labels.tolist(),
        "threshold": BLANK,
    }
    if max(deviations) < BLANK:
        message = "The images are blank: what enters the network is the same everywhere. Check the dataset."
        return Finding("check/input", "fail", message, evidence)
    shown = f"mean {_mean(means):.2f}, deviation {_mean(deviations):.2f}"
    return Finding("check/input", "look", f"What enters the network, un-normalized: {shown} per channel.", evidence)


@torch.no_grad()
def initial_loss(subject: Subject) -> Finding:
    """Compare the initial loss with the loss expected at initialization."""
    spec, classes = subject.context.spec, subject.context.data.num_classes
    model = copy.deepcopy(subject.model).train()
    measured = subject.loss(model, subject.images).item()
    tolerance = spec.thresholds.start_loss
    # For the squared error: the loss of an all-zero output against a one-hot target of C classes.
    expected = math.log(classes) if spec.loss == "cross_entropy" else 1 / classes
    off = abs(measured - expected) / expected if math.isfinite(measured) else math.inf
    level: Level = "pass" if off <= tolerance else "warn" if expected / 2 <= measured <= 2 * expected else "fail"
    evidence = {"measured": measured if math.isfinite(measured) else None, "expected": expected, "threshold": tolerance}
    word = f"−log(1/{classes})" if spec.loss == "cross_entropy" else f"1/{classes}"
    message = f"The first loss is {measured:.3f}; expected at initialization: {word} = {expected:.3f}."
    if level != "pass":
        message += " The last layer's first weights, or the normalization, are off."
    return Finding("check/start_loss", level, message, evidence)


@torch.no_grad()
def logit_range(subject: Subject) -> Finding:
    """Check that the logits can be negative, which a ReLU after the last layer prevents."""
    logits = subject.logits(copy.deepcopy(subject.model).eval(), subject.images)
    negative, zero = (logits < 0).float().mean().item(), (logits == 0).float().mean().item()
    evidence = {"negative": negative, "zero": zero}
    if negative or zero < 0.1:
        return Finding("check/logits", "pass", f"{100 * negative:.0f}% of the logits are negative.", evidence)
    message = f"No logit is ever negative and {100 * zero:.0f}% are exactly 0: a ReLU after the last layer cuts them."
    overrides = {"model.final_relu": False}
    remedy = Remedy("without the final ReLU", overrides) if subject.context.spec.model.final_relu else None
    return Finding("check/logits", "fail", message, evidence, remedy)


def zeroed_input(subject: Subject) -> Finding:
    """Compare the loss after one step on the images with the loss after one step on zeroed images.

    Fails if the logits do not depend on the input at all.
    """
    blank = torch.zeros_like(subject.images)
    real, zeroed = _losses_of_one_step(subject, subject.images), _losses_of_one_step(subject, blank)
    evidence = {"real": real, "zeroed": zeroed, "lines": {"real": [[0, 1], real], "zeroed": [[0, 1], zeroed]}}
    with torch.no_grad():
        model = copy.deepcopy(subject.model).eval()
        difference = (subject.logits(model, subject.images) - subject.logits(model, blank)).abs().max().item()
    if difference == 0:
        message = "The network answers the same whether it sees the images or nothing."
        return Finding("check/zeroed", "fail", message, evidence)
    lower = real[1] < zeroed[1]
    comparison = f"After one step the loss is {real[1]:.3f} on the images and {zeroed[1]:.3f} on blank ones"
    if lower:
        return Finding("check/zeroed", "pass", f"{comparison}: the images tell the network something.", evidence)
    return Finding("check/zeroed", "look", f"{comparison}: one step is too early to tell them apart here.", evidence)


def _losses_of_one_step(subject: Subject, images: Tensor) -> list[float]:
    """Return the loss before and after one step on `images`; 1e9 stands for a value that is not finite."""
    model = copy.deepcopy(subject.model).train()
    settings = subject.context.spec.optimizer
    optimizers = Optimizers(settings, model, images.device)
    optimizers.set_rate(settings.lr)
    before = subject.loss(model, images)
    before.backward()  # type: ignore[no-untyped-call]
    optimizers.step()
    with torch.no_grad():
        after = subject.loss(model, images)
    return [value if math.isfinite(value) else 1e9 for value in (before.item(), after.item())]


def batch_independence(subject: Subject) -> Finding:
    """Check that the logits of one image depend on that image alone (batch independence).

    Uses the gradient of that image's logits with respect to the whole input batch.
    """
    model = copy.deepcopy(subject.model).eval().requires_grad_(False)
    images = subject.images.detach().clone().requires_grad_()
    chosen = len(images) // 3
    subject.logits(model, images)[chosen].sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    norms = images.grad.flatten(1).norm(dim=1).tolist()
    leaks = sum(norm > 0 for index, norm in enumerate(norms) if index != chosen)
    evidence = {"example": chosen, "bars": norms}
    if leaks:
        message = f"An image's answer depends on {leaks} other images of its batch: something mixes along the batch."
        return Finding("check/apart", "fail", message, evidence)
    if norms[chosen] == 0:
        return Finding("check/apart", "warn", "An image's answer does not depend on the image.", evidence)
    return Finding("check/apart", "pass", "Each image's answer depends on that image alone.", evidence)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
