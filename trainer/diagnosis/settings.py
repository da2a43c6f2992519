"""Settings that do not fit the network or the run, each measured before the first step on copies."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator

import torch
from torch import nn

from trainer.diagnosis.dataset import class_counts
from trainer.diagnosis.findings import Finding, Remedy, value
from trainer.diagnosis.probe import JUMP, LONG_STEP, Bench, Descent, RateProbe, probe_rate, rounded
from trainer.diagnosis.reference import Reference, reference
from trainer.engine.loss import batch_loss
from trainer.engine.optim import by_decay
from trainer.plan.schedule import Plan, learning_rate
from trainer.spec.train_spec import TrainSpec

LITTLE_LEFT, LITTLE = 0.15, 0.3  # share of the plain objective's possible decrease that smoothing leaves
STRONG_DROPOUT = 0.5
SUPPRESSED = 0.25  # share of the decrease without dropout that is left with it
DECAY_RATIO = 3.0  # norms: weight decay / gradient
LEAST_DECAY = 5e-3  # weaker decay is common: where it shrinks the weights, the learning rate is too high
DECAY_STEPS = 50.0  # in which weight decay alone would shrink the weights to a third
SMALLEST_BATCH, SMALL_BATCH = 2, 4
LONG_MOMENTUM = 0.98
MUON_LONGEST, MUON_PATH = 1.0, 0.2  # size of a step, and of all steps together, relative to the weights
COVERED = 0.5  # share of an image that cutout covers on average
BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)


def settings_findings(bench: Bench, plan: Plan, known: Reference) -> Iterator[Finding]:
    """Yield the findings about the objective, the regularization, the optimizer and the rate, in this order."""
    spec = bench.context.spec
    yield from label_smoothing(spec, known, bench)
    yield from augmentation(bench)
    yield from dropout(bench)
    yield from weight_decay(bench, plan)
    yield from small_batch(bench, plan)
    yield from muon(spec, plan)
    yield from momentum(spec)
    if not plan.segments[0].schedule.warmup_epochs:
        yield from learning_rate_probe(probe_rate(bench))


def label_smoothing(spec: TrainSpec, known: Reference, bench: Bench) -> Iterator[Finding]:
    """Smoothing that leaves the loss hardly any room below guessing."""
    if not spec.label_smoothing:
        return
    plain = reference(spec.model_copy(update={"label_smoothing": 0.0}), class_counts(bench.context.data))
    left = known.range / plain.range
    if left >= LITTLE:
        return
    message = (
        f"With label smoothing {spec.label_smoothing:g} the loss can only fall from {known.prior:.3g} to "
        f"{known.floor:.3g}: {100 * left:.3g}% of the decrease that is possible without it (threshold "
        f"{100 * LITTLE_LEFT:g}%)."
    )
    evidence = value("possible decrease of the loss", 100 * left, 100 * LITTLE_LEFT, "%")
    remedy = Remedy("label smoothing 0.1", {"label_smoothing": 0.1})
    yield Finding("label_smoothing", "fail" if left < LITTLE_LEFT else "look", message, evidence, remedy)


def augmentation(bench: Bench) -> Iterator[Finding]:
    """Cutout that covers most of an image."""
    augment = bench.context.spec.augment
    side, size = augment.cutout, augment.placed_size(bench.context.data.record.size, bench.context.full_size)
    # The mean share of a side that a square covers whose center lies anywhere in the image.
    reach = side / size
    covered = (reach - reach**2 / 4 if reach <= 2 else 1.0) ** 2
    if not side or covered < COVERED:
        return
    message = (
        f"Cutout of {side} pixels covers {100 * covered:.3g}% of a {size}-pixel image on average (threshold "
        f"{100 * COVERED:g}%)."
    )
    smaller = max(2, size // 4)
    remedy = Remedy(f"cutout {smaller}", {"augment.cutout": smaller})
    yield Finding(
        "augmentation", "fail", message, value("image covered by cutout", 100 * covered, 100 * COVERED, "%"), remedy
    )


def dropout(bench: Bench) -> Iterator[Finding]:
    """Dropout that keeps the network from learning a single batch, which it learns without."""
    shares = [module.p for module in bench.model.modules() if isinstance(module, nn.Dropout)]
    strongest = max(shares, default=0.0)
    if strongest < STRONG_DROPOUT:
        return
    without, having = bench.descend(steps=16), bench.descend(dropout=True, steps=16)
    start = without.losses[0]  # with dropout the loss fluctuates: its last values are averaged
    gained, possible = (max(0.0, start - statistics.fmean(found.losses[-4:])) for found in (having, without))
    left = gained / possible if without.falls else 1.0
    if not left < SUPPRESSED:
        return
    message = (
        f"With dropout {strongest:g} the loss of one batch falls from {start:.3g} to {start - gained:.3g} in 16 steps, "
        f"without dropout to {start - possible:.3g}."
    )
    evidence = value("decrease with dropout / decrease without", 100 * left, 100 * SUPPRESSED, "%")
    lines = {"lines": {"with dropout": having.line, "without": without.line}}
    yield Finding("dropout", "fail", message, {**evidence, **lines}, Remedy("dropout 0.2", {"model.dropout": 0.2}))


def weight_decay(bench: Bench, plan: Plan) -> Iterator[Finding]:
    """Weight decay that is stronger than the gradient, or shrinks the weights within a few steps."""
    settings = bench.context.spec.optimizer
    if settings.weight_decay < LEAST_DECAY:
        return
    rate = settings.rest_lr if settings.name == "muon" else settings.lr
    kind = settings.rest if settings.name == "muon" else settings.name
    kept = settings.momentum if kind == "sgd" else 0.0
    steps = (1 - kept) / (rate * settings.weight_decay)
    ratio = decay_ratio(bench) if kind in ("adam", "sgd") else 0.0
    weaker = Remedy("weight decay 5e-4", {"optimizer.weight_decay": 5e-4})
    within = kind == "adam" or steps < plan.total_steps / 4
    if ratio > DECAY_RATIO and within and settings.name != "muon":
        message = (
            f"Weight decay {settings.weight_decay:g} changes the weights {ratio:.3g} times as strongly as the gradient "
            f"does (threshold {DECAY_RATIO:g}): training shrinks the weights instead of fitting the images."
        )
        evidence = value("norm of weight decay / norm of gradient", ratio, DECAY_RATIO)
        yield Finding("weight_decay", "fail", message, evidence, weaker)
    elif kind != "adam" and steps < DECAY_STEPS and within:
        message = (
            f"Weight decay {settings.weight_decay:g} at learning rate {rate:g} shrinks weights to a third within "
            f"{steps:.3g} steps (threshold {DECAY_STEPS:g})."
        )
        evidence = value("steps to a third of the weights", steps, DECAY_STEPS)
        yield Finding("weight_decay", "fail", message, evidence, weaker)


def decay_ratio(bench: Bench) -> float:
    """|weight decay × weights| / |gradient| of the decayed parameters, on the batch."""
    spec = bench.context.spec
    model = copy.deepcopy(bench.model).train()
    with bench.context.autocast:
        logits = model(bench.images)
    batch_loss(spec, logits.float(), bench.labels, plain=True).backward()  # type: ignore[no-untyped-call]
    decayed = [parameter for parameter in by_decay(model, spec.optimizer)[0] if parameter.grad is not None]
    weights = torch.stack([parameter.detach().norm() for parameter in decayed]).norm().item()
    gradients = torch.stack([parameter.grad.norm() for parameter in decayed if parameter.grad is not None]).norm()
    return float(spec.optimizer.weight_decay * weights / max(gradients.item(), 1e-12))


def small_batch(bench: Bench, plan: Plan) -> Iterator[Finding]:
    """Batches too small for BatchNorm's statistics."""
    if plan.batch_size > SMALL_BATCH or bench.context.spec.overfit_one_batch:
        return
    norms = [name for name, module in bench.model.named_modules() if isinstance(module, BATCH_NORMS)]
    if not norms:
        return
    message = (
        f"{len(norms)} BatchNorm layers, the first {norms[0]}, take mean and variance from batches of "
        f"{plan.batch_size} images (threshold: more than {SMALL_BATCH}): they are too noisy."
    )
    # Not larger: with as many epochs, a batch four times as large takes a quarter of the steps.
    remedy = Remedy(f"batch size {2 * SMALL_BATCH}", {"batch_size": 2 * SMALL_BATCH})
    evidence = value("batch size", plan.batch_size, SMALL_BATCH)
    yield Finding("small_batch", "fail" if plan.batch_size <= SMALLEST_BATCH else "look", message, evidence, remedy)


def muon(spec: TrainSpec, plan: Plan) -> Iterator[Finding]:
    """Muon's rate is the relative size of a step (trainer/engine/muon.py), so that it can be judged by itself."""
    if spec.optimizer.name != "muon" or spec.schedule.name == "range_test":
        return
    rate = spec.optimizer.lr
    usual = Remedy("learning rate 0.08", {"optimizer.lr": 0.08})
    if rate > MUON_LONGEST:
        message = (
            f"With Muon, each step at learning rate {rate:g} is {100 * rate:.3g}% as large as the weights themselves "
            f"(threshold {100 * MUON_LONGEST:g}%): nothing learned is kept."
        )
        evidence = value("step / weights", 100 * rate, 100 * MUON_LONGEST, "%")
        yield Finding("lr_too_high", "fail", message, evidence, usual)
        return
    sampled = range(0, plan.total_steps, max(1, plan.total_steps // 200))
    path = sum(learning_rate(plan, step) for step in sampled) / len(sampled) * plan.total_steps
    if path < MUON_PATH and plan.total_steps >= 100:
        message = (
            f"With Muon, all {plan.total_steps:,} steps together at learning rate {rate:g} move the weights by at most "
            f"{100 * path:.3g}% of their size (threshold {100 * MUON_PATH:g}%)."
        )
        evidence = value("path of all steps / weights", 100 * path, 100 * MUON_PATH, "%")
        yield Finding("lr_too_low", "fail", message, evidence, usual)


def momentum(spec: TrainSpec) -> Iterator[Finding]:
    """A momentum at which steps add up to many times the learning rate."""
    settings = spec.optimizer
    if settings.name != "sgd" or settings.momentum < LONG_MOMENTUM:
        return
    message = (
        f"With momentum {settings.momentum:g} a step adds up to {1 / (1 - settings.momentum):.3g} times the learning "
        f"rate, {settings.lr / (1 - settings.momentum):.3g} (threshold: momentum {LONG_MOMENTUM:g}; 0.9 is common)."
    )
    evidence = value("momentum", settings.momentum, LONG_MOMENTUM)
    yield Finding("momentum", "look", message, evidence, COMMON_MOMENTUM)


COMMON_MOMENTUM = Remedy("momentum 0.9", {"optimizer.momentum": 0.9})


def learning_rate_probe(found: RateProbe) -> Iterator[Finding]:
    """A rate at which the loss of one batch jumps, where it falls at a lower one."""
    if not found.is_too_high or found.better is None:
        return
    yield rate_too_high(found)


def rate_too_high(found: RateProbe) -> Finding:
    assert found.better is not None
    chosen, better = found.chosen, found.better
    if not chosen.jumps:
        return _step_too_long(chosen, better)
    highest = max((loss for loss in chosen.losses if loss < float("inf")), default=chosen.losses[0])
    message = (
        f"The learning rate, {chosen.rate:g}, is too high: on one batch the loss jumps from {chosen.losses[0]:.3g} to "
        f"{float(f'{highest:.3g}'):,g}; at {better.rate:g} it falls to {better.losses[-1]:.3g}."
    )
    evidence = value("highest loss / first loss", highest / max(chosen.losses[0], 1e-9), JUMP)
    lines = {f"rate {chosen.rate:g}": chosen.line, f"rate {better.rate:g}": better.line}
    return Finding("lr_too_high", "fail", message, {**evidence, "lines": lines, "probe": True}, with_rate(better.rate))


def _step_too_long(chosen: Descent, better: Descent) -> Finding:
    message = (
        f"The learning rate, {chosen.rate:g}, is too high: the first step changes the weights by "
        f"{100 * chosen.first_step:.3g}% of their size (threshold {100 * LONG_STEP:g}%); at {better.rate:g} it changes "
        f"them by {100 * better.first_step:.3g}%."
    )
    evidence = value("first step / weights", 100 * chosen.first_step, 100 * LONG_STEP, "%")
    lines = {f"rate {chosen.rate:g}": chosen.line, f"rate {better.rate:g}": better.line}
    return Finding("lr_too_high", "fail", message, {**evidence, "lines": lines, "probe": True}, with_rate(better.rate))


def rate_too_low(found: RateProbe) -> Finding:
    assert found.better is not None
    chosen, better = found.chosen, found.better
    message = (
        f"The learning rate, {chosen.rate:g}, is too low: on one batch the loss falls by "
        f"{100 * max(0.0, chosen.fall):.3g}% in {len(chosen.losses) - 1} steps, and by {100 * better.fall:.3g}% at "
        f"{better.rate:g}."
    )
    evidence = value("decrease at the chosen rate", 100 * chosen.fall, 100 * better.fall / 3, "%")
    lines = {f"rate {chosen.rate:g}": chosen.line, f"rate {better.rate:g}": better.line}
    return Finding("lr_too_low", "fail", message, {**evidence, "lines": lines, "probe": True}, with_rate(better.rate))


def with_rate(rate: float) -> Remedy:
    rate = rounded(rate)
    return Remedy(f"learning rate {rate:g}", {"optimizer.lr": rate})
