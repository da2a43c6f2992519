"""Why a network does not learn: experiments on copies of the network as it was before the first step.

They are made once a rule has found at two looks that the loss does not fall, in the order of the causes. They do not
change the run's weights, sample order or random state.
"""

from __future__ import annotations

import statistics
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import torch

from trainer.diagnosis.activations import dead_at_first
from trainer.diagnosis.causes import HINDERING
from trainer.diagnosis.dataset import class_counts, dataset_findings
from trainer.diagnosis.findings import Finding, Remedy, value
from trainer.diagnosis.probe import LAST, Bench, probe_images, probe_rate
from trainer.diagnosis.reference import plain, reference
from trainer.diagnosis.rules import NO_PROGRESS, Case, Z
from trainer.diagnosis.settings import (
    COMMON_MOMENTUM,
    rate_too_high,
    rate_too_low,
    settings_findings,
    small_batch,
    with_rate,
)
from trainer.engine.context import Context
from trainer.engine.trainee import fresh_model, start_from_weights
from trainer.models.inputs import network_input
from trainer.rundir.folder import RunDir

STEPS = 16
TRIAL_STEPS = 100  # of a copy at a lower rate
CLIPPED = 20.0  # times the limit that gradients are clipped to
SUSPECT_MOMENTUM = 0.95


@dataclass(frozen=True)
class Investigation:
    """What the experiments need. `context` gives the run's data and settings."""

    context: Context

    @cached_property
    def bench(self) -> Bench:
        """The untrained network, and a batch of evenly spaced training images without augmentation."""
        context = self.context
        branched = RunDir(context.run_dir).initial_weights.exists()
        model = fresh_model(context.spec, context.data, context.device, initialized=not branched)
        if branched:
            start_from_weights(context.run_dir, model)
        data, size = context.data, context.full_size
        count = min(probe_images(model, size), len(data.train_rows))
        rows = data.train_rows[torch.arange(count, device=data.train_rows.device) * len(data.train_rows) // count]
        raw = data.train.images[rows.to(data.train.images.device)].to(context.device)
        return Bench(context, model, network_input(raw, context.constants, size), data.train.labels[rows])

    def cause(self, case: Case, symptom: Finding) -> Finding | None:
        """Return the first cause that explains the symptom; None if none is found.

        No experiments are made with cached features: they are not the network's input.
        """
        if self.context.spec.caches_features:
            return self._risen(symptom)
        with forked(self.context):
            return (
                self._unchecked(case)
                or dead_at_first(self.context, self.bench.model)
                or self._batch(case)
                or self._momentum(symptom)
                or self._clipping(case)
                or self._rate(case, symptom)
            )

    def _unchecked(self, case: Case) -> Finding | None:
        """What the checks before the first step would have found, if there were none."""
        if self.context.spec.checks != "off":
            return None
        found = chain(dataset_findings(self.context), settings_findings(self.bench, case.plan, case.reference))
        return next((item for item in found if item.level == "fail" and item.kind in HINDERING), None)

    def _batch(self, case: Case) -> Finding | None:
        found = next(iter(small_batch(self.bench, case.plan)), None)
        return None if found is None else replace(found, level="fail")

    def _momentum(self, symptom: Finding) -> Finding | None:
        settings = self.context.spec.optimizer
        if settings.name != "sgd" or settings.momentum <= SUSPECT_MOMENTUM or symptom.kind == "loss_slow":
            return None
        message = (
            f"Momentum {settings.momentum:g} is too high at learning rate {settings.lr:g}: steps add up to "
            f"{1 / (1 - settings.momentum):.3g} times the rate (threshold: momentum {SUSPECT_MOMENTUM:g}; 0.9 is "
            f"common). {symptom.message}"
        )
        return Finding(
            "momentum", "fail", message, value("momentum", settings.momentum, SUSPECT_MOMENTUM), COMMON_MOMENTUM
        )

    def _clipping(self, case: Case) -> Finding | None:
        limit, norms = self.context.spec.optimizer.clip_norm, case.history["grad/norm"].until(case.step).values[-20:]
        if not limit or not norms or statistics.median(norms) < CLIPPED * limit or "adam" in case.spec.optimizer.name:
            return None
        norm = statistics.median(norms)
        message = (
            f"Gradients of norm {norm:.3g} are clipped to {limit:g}, which shortens each step {norm / limit:.3g} times "
            f"(threshold {CLIPPED:g})."
        )
        remedy = Remedy("no clipping", {"optimizer.clip_norm": 0.0})
        return Finding("clipping", "fail", message, value("gradient norm / limit", norm / limit, CLIPPED), remedy)

    def _rate(self, case: Case, symptom: Finding) -> Finding | None:
        found = probe_rate(self.bench, upward=True, steps=STEPS)
        if found.is_too_high:
            return rate_too_high(found)
        if found.is_too_low and symptom.kind != "loss_risen":
            return rate_too_low(found)
        if symptom.kind == "loss_risen":
            return self._risen(symptom)
        if symptom.kind in ("loss_stalled", "steps_too_large"):
            return self._lower_rate(case, symptom)
        if symptom.kind == "guesses" and found.chosen.falls:
            return unlearnable(case, symptom)
        return None

    def _risen(self, symptom: Finding) -> Finding | None:
        if symptom.kind != "loss_risen":
            return None
        rate = self.context.spec.optimizer.lr
        message = f"The learning rate, {rate:g}, is too high. {symptom.message}"
        return Finding("lr_too_high", "fail", message, symptom.evidence, with_rate(rate / 10))

    def _lower_rate(self, case: Case, symptom: Finding) -> Finding | None:
        """Whether a copy learns at a lower rate in the steps in which the run has not.

        A copy's objective is plain cross-entropy, under which the class frequencies may give a lower loss.
        """
        steps = min(case.step, TRIAL_STEPS)
        known = reference(plain(case.spec), class_counts(self.context.data))
        guessing = min(known.uniform, known.prior)
        for factor in (0.1, 0.01):
            trial = self.bench.trial(factor, case.plan.batch_size, steps)
            reached, error = statistics.fmean(trial.losses), statistics.stdev(trial.losses) / len(trial.losses) ** 0.5
            run = case.loss.between(steps - LAST, steps).values
            own = statistics.fmean(run) if run else case.now
            if reached + Z * error < min(own, guessing) - NO_PROGRESS * known.uniform:
                rate = self.context.spec.optimizer.lr
                message = (
                    f"The learning rate, {rate:g}, is too high: after {steps} steps the training loss is {own:.3g}; in "
                    f"a copy at {trial.rate:g} it is {reached:.3g}. {symptom.message}"
                )
                evidence = value("loss of the copy", reached, min(own, guessing))
                return Finding("lr_too_high", "fail", message, {**evidence, "probe": True}, with_rate(trial.rate))
        return None


def unlearnable(case: Case, symptom: Finding) -> Finding:
    """The network learns a single batch, so that its rate suits, but nothing that holds for other images."""
    message = (
        f"{symptom.message} The network learns a single batch at this learning rate: the labels may not belong to "
        "their images. Check the dataset."
    )
    return Finding("labels", "fail", message, symptom.evidence)


def forked(context: Context) -> AbstractContextManager[None]:
    """Restores the random state at its end."""
    return torch.random.fork_rng(devices=[context.device] if context.device.type == "cuda" else [])
