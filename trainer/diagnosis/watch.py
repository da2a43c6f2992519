"""Applies the rules to a run while it trains, and writes the events of the findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from trainer.data.splits import listed
from trainer.diagnosis.activations import dead_units
from trainer.diagnosis.findings import Finding, Remedy, tell
from trainer.diagnosis.history import History
from trainer.diagnosis.rules import FIRST_LOOK, WINDOW, Case, diagnose, diverged
from trainer.engine.context import Context
from trainer.engine.evaluate import Validation
from trainer.engine.resident import ResidentData
from trainer.models.inputs import network_input
from trainer.plan.schedule import Plan
from trainer.spec.train_spec import TrainSpec

PROBED = 250  # validation images used to detect dead units
FEWEST = 50  # validation images required to report that all predictions are the same class
ONE_CLASS = 0.99  # fraction of the predictions


class Watch:
    """The history of a run and the findings made from it. A resumed run starts with the history up to `from_step`."""

    def __init__(self, context: Context, from_step: int) -> None:
        self.history = History.of_run(context.run_dir, from_step)
        self._context, self._spec = context, context.spec
        self._single_class = 0  # consecutive evaluations that predicted a single class
        data = context.data
        val_labels = data.val.labels[data.val_rows]
        counts = torch.bincount(val_labels, minlength=data.num_classes)
        self._guess = (counts.max() / counts.sum().clamp(min=1)).item()
        if not from_step:
            self._tell(from_step, classes_without_validation(self._spec, data, counts.tolist()))

    def logged(self, plan: Plan, step: int, values: Mapping[str, float]) -> None:
        self.history.add(step, values)
        if step % WINDOW == 0 or len(self.history["train/loss"]) == WINDOW:
            self._tell(step, diagnose(self._case(plan, step)))

    def evaluated(self, plan: Plan, step: int, found: Validation, model: nn.Module) -> None:
        self.history.add(step, found.values)
        if found.guesses is not None:
            self._tell(step, self._prediction_findings(step, found.guesses, model))
        self._tell(step, diagnose(self._case(plan, step, epoch_ended=True)))

    def diverged(self, step: int) -> None:
        self._tell(step, [diverged(self._spec, self.history, step)])

    def _case(self, plan: Plan, step: int, *, epoch_ended: bool = False) -> Case:
        return Case(self._spec, plan, step, self.history, self._guess, len(self._context.data.val_rows), epoch_ended)

    def _prediction_findings(self, step: int, guesses: Tensor, model: nn.Module) -> Iterable[Finding]:
        """Yield the findings from predictions and activations; none if the check found the inputs to be blank."""
        told = self.history.told.keys()
        if "check/input" in told:
            return
        rate = float(f"{self._spec.optimizer.lr / 10:.2g}")
        remedy = Remedy(f"learning rate {rate:g}", {"optimizer.lr": rate})
        share = (torch.bincount(guesses).max() / len(guesses)).item()
        single_class = len(guesses) >= FEWEST and share > max(ONE_CLASS, self._guess)
        self._single_class = self._single_class + 1 if single_class else 0
        if "same_answer" not in told and self._single_class >= 2 and step >= FIRST_LOOK:  # normal early in training
            message = f"The network answers the same class for {100 * share:.0f}% of the held-out images."
            yield Finding("same_answer", "fail", message, {"measured": share, "threshold": ONE_CLASS}, remedy)
        limit = self._spec.thresholds.dead_units
        stored = self._context.data.val.images
        if "dead_units" in told or stored.dtype != torch.uint8:
            return
        rows = self._context.data.val_rows[:PROBED].to(stored.device)
        images = network_input(stored[rows].to(self._context.device), self._context.constants, self._context.full_size)
        layers = dead_units(model, images, self._context.autocast, self._context.portions)
        worst = max(layers, key=layers.__getitem__, default=None)
        if worst is not None and layers[worst] > limit:
            message = f"{100 * layers[worst]:.0f}% of the units after layer {worst} never activate."
            evidence = {"measured": layers[worst], "threshold": limit, "bars": [*layers.values()]}
            yield Finding("dead_units", "warn", message, evidence, remedy)

    def _tell(self, step: int, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.history.told.setdefault(finding.kind, step)
            tell(self._context.events, step, finding)


def classes_without_validation(spec: TrainSpec, data: ResidentData, counts: Sequence[int]) -> Iterable[Finding]:
    """Yield a finding if there should be a validation split, but it has no image of some class.

    `counts` are the validation images of each class.
    """
    missing = [name for name, count in zip(data.record.target_names(spec.target), counts, strict=True) if not count]
    if not missing or (spec.val_fraction == 0 and not data.record.val_count):
        return
    which = f"{len(missing):,} class{'' if len(missing) == 1 else 'es'}: {listed(missing)}"
    if data.record.val_count:
        message = f"The validation split has no image of {which}."
    else:
        few = "one training image" if spec.dataset.split_seed == "dataset" else "too few training images"
        last = "" if sum(counts) else " Nothing is validated, and the last epoch is the one that is tested."
        message = f"No image is held out for validation of {which}. A class with {few} cannot spare any.{last}"
    yield Finding("unvalidated_classes", "info", message, {"classes": len(missing)})
