"""The checks before the first step, on copies of what will be trained (Karpathy 2019, "A Recipe for Training Neural
Networks"). They leave weights, order and random state as they were."""

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

FEW, LARGE = 8, 96  # images of more pixels than LARGE a side are looked at by the few
IMAGES = 32
BLANK = 0.01  # deviation of normalised pixels, which is about 1 where there is a picture


@dataclass(frozen=True)
class Subject:
    """What is checked: `images` float B×3×H×W, the very tensor that enters the network, and their `labels`."""

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
    """A pre-training check failed, and the spec says to stop then."""

    code = "check_failed"

    def __init__(self, message: str) -> None:
        super().__init__(f"A check before the first step failed. {message}")


def check(context: Context, model: nn.Module, batches: Batches, size: int, *, fresh: bool) -> None:
    """Run the checks that the spec asks for and tell each finding as it is made.

    `fresh` weights are random ones; `size` is the first step's, in pixels. Raises CheckFailed if that is asked for.
    """
    raw, labels, draws, chosen = batches.take(0, 0)
    count = IMAGES if size <= LARGE else FEW
    images = network_input(raw[:count], context.constants, size)
    mixed = mix(context.spec.augment, images, labels[:count], draws, chosen[:count])
    entering = images if mixed is None else mixed.images
    subject = Subject(context, model, entering, labels[:count])
    device = context.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for finding in _findings(subject, batches, size, fresh=fresh):
            tell(context.events, 0, finding)
            if finding.level == "fail" and context.spec.stop_on_failed_checks:
                raise CheckFailed(finding.message)


def _findings(subject: Subject, batches: Batches, size: int, *, fresh: bool) -> Iterator[Finding]:
    yield just_before_the_net(subject)
    if fresh:
        yield loss_at_the_start(subject)
    yield free_logits(subject)
    yield inputs_matter(subject)
    yield examples_apart(subject)
    if subject.context.spec.checks == "full":
        yield overfit_one_batch(subject.context, subject.model, size)
        yield twin_runs(subject.context, subject.model, batches, size)


def just_before_the_net(subject: Subject) -> Finding:
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
        message = "The images are blank: what enters the network is the same everywhere. Look at the data set."
        return Finding("check/input", "fail", message, evidence)
    shown = f"mean {_mean(means):.2f}, deviation {_mean(deviations):.2f}"
    return Finding("check/input", "look", f"What enters the network, un-normalised: {shown} a channel.", evidence)


@torch.no_grad()
def loss_at_the_start(subject: Subject) -> Finding:
    spec, classes = subject.context.spec, subject.context.data.num_classes
    model = copy.deepcopy(subject.model).train()
    measured = subject.loss(model, subject.images).item()
    tolerance = spec.thresholds.start_loss
    # Of squared error: that of an answer of zeros against one 1 among C.
    expected = math.log(classes) if spec.loss == "cross_entropy" else 1 / classes
    off = abs(measured - expected) / expected if math.isfinite(measured) else math.inf
    level: Level = "pass" if off <= tolerance else "warn" if expected / 2 <= measured <= 2 * expected else "fail"
    evidence = {"measured": measured if math.isfinite(measured) else None, "expected": expected, "threshold": tolerance}
    word = f"−log(1/{classes})" if spec.loss == "cross_entropy" else f"1/{classes}"
    message = f"The first loss is {measured:.3f}; a network that knows nothing yet has {word} = {expected:.3f}."
    if level != "pass":
        message += " The last layer's first weights, or the normalisation, are off."
    return Finding("check/start_loss", level, message, evidence)


@torch.no_grad()
def free_logits(subject: Subject) -> Finding:
    logits = subject.logits(copy.deepcopy(subject.model).eval(), subject.images)
    negative, zero = (logits < 0).float().mean().item(), (logits == 0).float().mean().item()
    evidence = {"negative": negative, "zero": zero}
    if negative or zero < 0.1:
        return Finding("check/logits", "pass", f"{100 * negative:.0f}% of the logits are negative.", evidence)
    message = f"No logit is ever negative and {100 * zero:.0f}% are exactly 0: a ReLU after the last layer cuts them."
    overrides = {"model.final_relu": False}
    remedy = Remedy("without the final ReLU", overrides) if subject.context.spec.model.final_relu else None
    return Finding("check/logits", "fail", message, evidence, remedy)


def inputs_matter(subject: Subject) -> Finding:
    """One step on the images, and the same step with the images zeroed: the loss must fall further on the real ones."""
    blank = torch.zeros_like(subject.images)
    real, zeroed = _after_a_step(subject, subject.images), _after_a_step(subject, blank)
    evidence = {"real": real, "zeroed": zeroed, "lines": {"real": [[0, 1], real], "zeroed": [[0, 1], zeroed]}}
    with torch.no_grad():
        model = copy.deepcopy(subject.model).eval()
        heard = (subject.logits(model, subject.images) - subject.logits(model, blank)).abs().max().item()
    if heard == 0:
        message = "The network answers the same whether it sees the images or nothing."
        return Finding("check/zeroed", "fail", message, evidence)
    ahead = real[1] < zeroed[1]
    told = f"After one step the loss is {real[1]:.3f} on the images and {zeroed[1]:.3f} on blank ones"
    if ahead:
        return Finding("check/zeroed", "pass", f"{told}: the images tell the network something.", evidence)
    return Finding("check/zeroed", "look", f"{told}: one step is too early to tell them apart here.", evidence)


def _after_a_step(subject: Subject, images: Tensor) -> list[float]:
    """The loss before and after one step on `images`."""
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


def examples_apart(subject: Subject) -> Finding:
    """The gradient of one example's outputs at the inputs: a batch that leaks from one image to another is a bug."""
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
