"""Follows a run while it trains and tells what its rules find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from trainer.diagnosis.activations import dead_units
from trainer.diagnosis.findings import Finding, Remedy, tell
from trainer.diagnosis.history import History
from trainer.diagnosis.rules import FIRST_LOOK, WINDOW, Case, diagnose, diverged
from trainer.engine.context import Context
from trainer.engine.evaluate import Validation
from trainer.models.inputs import network_input
from trainer.plan.schedule import Plan

PROBED = 250  # held-out images that are looked at for dead units
FEWEST = 50  # held-out images from which it is said that all are answered alike
ONE_CLASS = 0.99


class Watch:
    def __init__(self, context: Context, from_step: int) -> None:
        self.history = History.of_run(context.run_dir, from_step)
        self._context, self._spec = context, context.spec
        self._alike = 0  # evaluations in a row that gave one answer
        data = context.data
        held = data.train.labels[data.val_rows]
        counts = torch.bincount(held, minlength=data.num_classes)
        self._guess = (counts.max() / counts.sum().clamp(min=1)).item()

    def logged(self, plan: Plan, step: int, values: Mapping[str, float]) -> None:
        self.history.add(step, values)
        if step % WINDOW == 0 or len(self.history["train/loss"]) == WINDOW:
            self._tell(step, diagnose(self._case(plan, step)))

    def evaluated(self, plan: Plan, step: int, found: Validation, model: nn.Module) -> None:
        self.history.add(step, found.values)
        if found.guesses is not None:
            self._tell(step, self._looked_at(step, found.guesses, model))
        self._tell(step, diagnose(self._case(plan, step, epoch_ended=True)))

    def diverged(self, step: int) -> None:
        self._tell(step, [diverged(self._spec, self.history, step)])

    def _case(self, plan: Plan, step: int, *, epoch_ended: bool = False) -> Case:
        return Case(self._spec, plan, step, self.history, self._guess, len(self._context.data.val_rows), epoch_ended)

    def _looked_at(self, step: int, guesses: Tensor, model: nn.Module) -> Iterable[Finding]:
        """What shows in the answers and activations themselves, but where the inputs are known to be blank."""
        told = self.history.told.keys()
        if "check/input" in told:
            return
        rate = float(f"{self._spec.optimizer.lr / 10:.2g}")
        remedy = Remedy(f"learning rate {rate:g}", {"optimizer.lr": rate})
        share = (torch.bincount(guesses).max() / len(guesses)).item()
        alike = len(guesses) >= FEWEST and share > max(ONE_CLASS, self._guess)
        self._alike = self._alike + 1 if alike else 0
        if "same_answer" not in told and self._alike >= 2 and step >= FIRST_LOOK:  # an untrained one may, for a while
            message = f"The network answers the same class for {100 * share:.0f}% of the held-out images."
            yield Finding("same_answer", "fail", message, {"measured": share, "threshold": ONE_CLASS}, remedy)
        limit = self._spec.thresholds.dead_units
        stored = self._context.data.train.images
        if "dead_units" in told or stored.dtype != torch.uint8:
            return
        rows = self._context.data.val_rows[:PROBED].to(stored.device)
        images = network_input(stored[rows].to(self._context.device), self._context.constants, self._context.full_size)
        layers = dead_units(model, images, self._context.autocast)
        worst = max(layers, key=layers.__getitem__, default=None)
        if worst is not None and layers[worst] > limit:
            message = (
                f"{100 * layers[worst]:.0f}% of the units after layer {worst} are dead: no image makes them answer."
            )
            evidence = {"measured": layers[worst], "threshold": limit, "bars": [*layers.values()]}
            yield Finding("dead_units", "warn", message, evidence, remedy)

    def _tell(self, step: int, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.history.told.setdefault(finding.kind, step)
            tell(self._context.events, step, finding)
