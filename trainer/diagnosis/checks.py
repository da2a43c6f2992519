"""Pre-training checks on copies of the network (Karpathy 2019, "A Recipe for Training Neural Networks").

They do not change the run's weights, sample order or random state.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainer.diagnosis.activations import dead_at_first
from trainer.diagnosis.causes import explanation
from trainer.diagnosis.dataset import class_counts, dataset_findings
from trainer.diagnosis.findings import Finding, Level, Remedy, tell, value
from trainer.diagnosis.probe import Bench, probe_images
from trainer.diagnosis.reference import Reference, plain, reference
from trainer.diagnosis.settings import settings_findings
from trainer.diagnosis.trial_training import overfit_one_batch, twin_runs
from trainer.engine.augment import mix
from trainer.engine.batches import Batches
from trainer.engine.contact_sheet import save_sheet
from trainer.engine.context import Context
from trainer.engine.loss import batch_loss
from trainer.engine.optim import Optimizers
from trainer.errors import TrainerError
from trainer.models.inputs import network_input
from trainer.plan.schedule import Plan
from trainer.rundir.folder import RunDir

IMAGES = 32  # images per check
START_IMAGES = 128  # images whose loss at the start is measured
PER_PASS = 64
MARGIN = 1.0  # by which the loss of an untrained network may exceed that of equal probabilities
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


def check(context: Context, model: nn.Module, batches: Batches, size: int, plan: Plan, *, fresh: bool) -> None:
    """Run the checks that the spec selects, and write the event of each finding once its check ends.

    A finding that another one explains is told as its symptom. `fresh` says that the weights are randomly initialized.
    `size` is the image size of the first step in pixels.
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
        problems: list[str] = []
        for finding in _findings(subject, batches, size, plan, problems, fresh=fresh):
            if finding.kind in problems:
                continue  # a blank input batch and the settings may both show the same cause
            stands_alone = finding.level == "pass" or finding.evidence.get("mixed")
            cause = None if stands_alone else explanation(finding.kind, problems)
            tell(context.events, 0, replace(finding, cause=cause))
            problems += [finding.kind] if finding.level == "fail" else []
            if finding.level == "fail" and context.spec.stop_on_failed_checks:
                raise CheckFailed(finding.message)


def _findings(
    subject: Subject, batches: Batches, size: int, plan: Plan, problems: Sequence[str], *, fresh: bool
) -> Iterator[Finding]:
    """`problems` are the kinds of the problems that were told so far."""
    context, silent = subject.context, subject.context.spec.overfit_one_batch
    yield input_batch(subject)
    if not silent:
        yield from dataset_findings(context)
    known = reference(context.spec, class_counts(context.data))
    if fresh:
        yield initial_loss(subject, known)
    yield logit_range(subject)
    zeroed = zeroed_input(subject)
    if zeroed.level == "fail" and explanation(zeroed.kind, problems) is None:
        dead = dead_at_first(context, copy.deepcopy(subject.model))
        yield from () if dead is None else (dead,)
    yield zeroed
    yield batch_independence(subject)
    if not silent and fresh and context.spec.schedule.name != "range_test":
        count = probe_images(subject.model, size)
        bench = Bench(context, subject.model, subject.images[:count], subject.labels[:count])
        yield from settings_findings(bench, plan, known)
    if subject.context.spec.checks == "full":
        yield overfit_one_batch(subject.context, subject.model, size)
        yield twin_runs(subject.context, subject.model, batches, size)


def input_batch(subject: Subject) -> Finding:
    """Save the input batch as a contact sheet and check that the images are not blank."""
    images = subject.images.float()
    mean, std = (value.view(1, 3, 1, 1) for value in subject.context.constants[:2])
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
    evidence |= value("deviation of the normalized pixels", max(deviations), BLANK)
    if max(deviations) < BLANK:
        message = "The images are blank: what enters the network is the same everywhere. Check the dataset."
        if subject.context.spec.augment.changes_images and not _stored_blank(subject):
            message = "Augmentation leaves the images blank: what enters the network is the same everywhere."
            return Finding("augmentation", "fail", message, evidence, Remedy("no cutout", {"augment.cutout": 0}))
        return Finding("check/input", "fail", message, evidence)
    shown = f"mean {_mean(means):.3g}, deviation {_mean(deviations):.3g}"
    return Finding("check/input", "info", f"Input batch, normalized: {shown} per channel.", evidence)


def _stored_blank(subject: Subject) -> bool:
    """Whether the stored images are blank, without augmentation."""
    data = subject.context.data
    rows = data.train_rows[:IMAGES].to(data.train.images.device)
    return data.train.images[rows].float().std().item() / 255 < BLANK


@torch.no_grad()
def initial_loss(subject: Subject, known: Reference) -> Finding:
    """Compare the initial loss, in evaluation mode, with the loss expected at initialization.

    An untrained network gives equal probabilities, or the class frequencies. Its logits are not exactly equal: MARGIN
    is what common initializations of the last layer add.
    """
    context = subject.context
    model = copy.deepcopy(subject.model)
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        _estimate_statistics(subject, model)
    model.eval()
    images, labels = _evenly_spaced(context, START_IMAGES if context.full_size <= LARGE else LARGE_IMAGES)
    losses = _losses_of(subject, model, images, labels)
    measured, error = losses.mean().item(), losses.std().item() / math.sqrt(len(losses))
    relative = context.spec.thresholds.start_loss
    lowest = (1 - relative) * min(known.uniform, _plain_prior(context)) - 3 * error
    highest = (1 + relative) * known.uniform + 3 * error
    margin = MARGIN if context.spec.loss == "cross_entropy" else 4 * known.uniform
    finite = math.isfinite(measured)
    level: Level = "pass" if finite and lowest <= measured <= highest + margin else "fail"
    if level == "fail" and finite and lowest <= measured <= highest + 4 * margin:
        level = "look"
    evidence = value("loss at the start", measured if finite else math.inf, highest + margin)
    evidence |= {"measured": measured if finite else None, "expected": known.uniform, "interval": 2 * error}
    word = "ln " if context.spec.loss == "cross_entropy" else "squared error for "
    message = (
        f"The loss before the first step is {measured:.3g} ± {2 * error:.2g} on {len(labels):,} images; expected at "
        f"initialization: {word}{context.data.num_classes} {'classes ' if word != 'ln ' else ''}= {known.uniform:.3g} "
        f"(threshold {highest + margin:.3g})."
    )
    if level != "pass":
        message += " The last layer's initial weights, or the normalization, are off."
    return Finding("check/start_loss", level, message, evidence)


def _plain_prior(context: Context) -> float:
    spec = plain(context.spec).model_copy(update={"sampling": "shuffle"})  # the images are evenly spaced
    return reference(spec, class_counts(context.data)).prior


def _estimate_statistics(subject: Subject, model: nn.Module) -> None:
    """Take BatchNorm's statistics from the batch: those of an untrained network say nothing in evaluation mode."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    model.train()
    subject.logits(model, subject.images)


def _evenly_spaced(context: Context, count: int) -> tuple[Tensor, Tensor]:
    data = context.data
    rows = data.train_rows[:: max(1, len(data.train_rows) // count)][:count]
    raw = data.train.images[rows.to(data.train.images.device)].to(context.device)
    return network_input(raw, context.constants, context.full_size), data.train.labels[rows]


def _losses_of(subject: Subject, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The plain loss of each image, float32 (n,)."""
    parts = []
    for part in torch.split(torch.arange(len(labels), device=labels.device), PER_PASS):
        logits = subject.logits(model, images[part])
        if subject.context.spec.loss == "mse":
            target = nn.functional.one_hot(labels[part], logits.shape[1]).float()
            parts.append((logits - target).square().mean(1))
        else:
            parts.append(nn.functional.cross_entropy(logits, labels[part], reduction="none"))
    return torch.cat(parts)


@torch.no_grad()
def logit_range(subject: Subject) -> Finding:
    """Check that the logits can be negative, which a ReLU after the last layer prevents."""
    logits = subject.logits(copy.deepcopy(subject.model).eval(), subject.images)
    negative, zero = (logits < 0).float().mean().item(), (logits == 0).float().mean().item()
    evidence = {"negative": negative, "zero": zero, **value("logits that are exactly 0", 100 * zero, 10, "%")}
    if negative or zero < 0.1:
        return Finding("check/logits", "pass", f"{100 * negative:.0f}% of the logits are negative.", evidence)
    message = f"No logit is negative and {100 * zero:.3g}% are exactly 0: a ReLU after the last layer cuts them."
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
        message = "The network's outputs are the same for the images and for zeroed images."
        return Finding("check/zeroed", "fail", message, evidence)
    lower = real[1] < zeroed[1]
    images, zeros = (f"{float(f'{loss:.3g}'):,g}" for loss in (real[1], zeroed[1]))
    comparison = f"After one step the loss is {images} on the images and {zeros} on zeroed images"
    if lower:
        return Finding("check/zeroed", "pass", f"{comparison}: the images carry information.", evidence)
    message = f"{comparison}. One step does not show whether the images carry information."
    return Finding("check/zeroed", "info", message, evidence)


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
    evidence = {"example": chosen, "bars": norms, "mixed": leaks}
    if leaks:
        message = f"An image's outputs depend on {leaks} other images of its batch: something mixes along the batch."
        return Finding("check/apart", "fail", message, evidence)
    if norms[chosen] == 0:
        return Finding("check/apart", "fail", "An image's outputs do not depend on the image.", evidence)
    return Finding("check/apart", "pass", "Each image's outputs depend on that image alone.", evidence)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
