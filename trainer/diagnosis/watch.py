"""Applies the rules to a run while it trains, and writes the events of the findings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trainer.data.splits import listed
from trainer.diagnosis import rules
from trainer.diagnosis.activations import worst_dead_layer
from trainer.diagnosis.causes import HINDERING, INFERRED, explanation, hindrance
from trainer.diagnosis.coverage import coverage
from trainer.diagnosis.dataset import class_counts
from trainer.diagnosis.findings import Finding, tell, value, withdraw
from trainer.diagnosis.history import History, Told
from trainer.diagnosis.investigation import Investigation
from trainer.diagnosis.reference import reference
from trainer.diagnosis.rules import Case, Rule, is_look, twice
from trainer.diagnosis.settings import with_rate
from trainer.diagnosis.validation import Losses, confused_classes, overfitting, rare_classes, splits_disagree
from trainer.engine.context import Context
from trainer.engine.evaluate import Validation
from trainer.engine.resident import ResidentData
from trainer.plan.schedule import Plan
from trainer.rundir.answers import Answers, answered_steps, read_answers
from trainer.rundir.hold import held_at
from trainer.spec.train_spec import TrainSpec

SYMPTOMS: tuple[Rule, ...] = (
    rules.loss_risen, rules.loss_stalled, rules.steps_too_large, rules.loss_slow, rules.gradients_vanished,
)  # fmt: skip
INVESTIGATIONS = 2  # per run
RECOVERED = 0.25  # share of the possible decrease of the loss from which on a network learns after all
RECOVERED_RATE = 0.75  # the same for a rate that does not suit: the network may then learn, but less
HALF = 0.5  # of the run, from which on classes are compared
BLOWN_UP = 1000.0  # times the loss of guessing: a test loss above it is that of a run that diverged


class Watch:
    """The history of a run and the findings made from it. A resumed run starts with the history up to `from_step`."""

    def __init__(self, context: Context, from_step: int) -> None:
        self.history = History.of_run(context.run_dir, from_step)
        self._context, self._spec = context, context.spec
        data = context.data
        val_labels = data.val.labels[data.val_rows]
        counts = torch.bincount(val_labels, minlength=data.num_classes)
        self._labels: npt.NDArray[np.int64] = val_labels.cpu().numpy()
        self._guess = (counts.max() / counts.sum().clamp(min=1)).item()
        self._counts = class_counts(data)
        self._reference = reference(context.spec, self._counts)
        self._investigation = Investigation(context)
        self._logged = from_step
        self._investigated: list[int] = []
        self._losses = Losses.empty()
        self._held: dict[str, int] = {}  # kind -> the evaluations in a row at which it has held
        for step in answered_steps(context.run_dir):
            if step <= from_step and (answers := read_answers(context.run_dir, step)) is not None:
                self._losses.add(answers)
        if not from_step:
            self._tell(from_step, classes_without_validation(self._spec, data, counts.tolist()))

    @property
    def _is_silent(self) -> bool:
        return self._spec.schedule.name == "range_test" or self._spec.overfit_one_batch

    def logged(self, plan: Plan, step: int, values: Mapping[str, float]) -> bool:
        """Look at a run after a logged step. Returns whether experiments were made, which take time."""
        self.history.add(step, values)
        last, self._logged = self._logged, step
        if self._is_silent or not is_look(plan, step, last):
            return False
        return self._look(self._case(plan, step), SYMPTOMS)

    def evaluated(self, plan: Plan, step: int, found: Validation, model: nn.Module) -> bool:
        """Look at a run after an evaluation. Returns whether experiments were made, which take time."""
        self.history.add(step, found.values)
        if self._is_silent or not len(self.history["train/loss"]):
            return False
        case = self._case(plan, step)
        self._repeated(step, "plateau", twice(rules.plateau, case, evaluations=True))
        self._repeated(step, "labels", twice(rules.memorized_only, case, evaluations=True))
        if found.guesses is not None and (answers := read_answers(self._context.run_dir, step)) is not None:
            self._compare(case, answers)
        self._dead_units(case, model)
        return self._look(case, (rules.guesses,), evaluations=True)

    def diverged(self, step: int) -> None:
        """Tell of a loss that is NaN or infinite, which ends the run."""
        self._tell_diverged(step, f"The training loss is NaN or infinite at step {step:,}.")

    def _tell_diverged(self, step: int, message: str) -> None:
        cause = hindrance(self.history.problems)
        lines = {"training loss": rules.finite(self.history["train/loss"])}
        symptom = Finding("diverged", "info", message, {"lines": lines}, cause=cause)
        if cause is None:
            settings = self._spec.optimizer
            text = f"The learning rate, {settings.lr:g}, is too high. {message}"
            remedy = with_rate(settings.lr / 10)
            self._tell(step, [Finding("lr_too_high", "fail", text, {"lines": lines}, remedy)])
        self._tell(step, [replace(symptom, cause=cause or "lr_too_high")])

    def tested(self, plan: Plan, step: int, summary: Mapping[str, float], best_step: int) -> None:
        """Look at how the run ended, compare the test with the validation at `best_step`, and record which rules could
        look at this run.
        """
        case, data = self._case(plan, step), self._context.data
        loss = summary["test/loss"]
        if self._spec.loss == "cross_entropy" and loss > BLOWN_UP * math.log(data.num_classes):
            self._tell_diverged(step, f"The test loss is {loss:.3g} at the end: training has diverged.")
        if self._spec.budget.minutes and step < plan.steps_per_epoch:
            self._tell(step, [short_budget(self._spec.budget.minutes, step, plan.steps_per_epoch)])
        answers = None if self._is_silent else read_answers(self._context.run_dir, best_step)
        if answers is not None and len(answers.guess) == len(self._labels):
            counts = torch.bincount(data.test.labels, minlength=data.num_classes).cpu().numpy()
            found = splits_disagree(summary["test/acc"], counts, answers.guess.astype(np.int64), self._labels)
            if found is not None:
                self._tell(step, [replace(found, cause=explanation(found.kind, self.history.problems))])
        self._tell(step, [coverage(self._context, case)])

    def _look(self, case: Case, symptoms: Iterable[Rule], *, evaluations: bool = False) -> bool:
        self._withdraw_recovered(case)
        for rule in symptoms:
            found = twice(rule, case, evaluations=evaluations)
            if found is None or not self.history.may_tell(found.kind):
                continue
            cause = hindrance(self.history.problems)
            if cause is not None:
                self._tell(case.step, [replace(found, cause=cause)])
            elif self._may_investigate(case.step):
                self._investigated.append(case.step)
                told = self._investigation.cause(case, found)
                if told is not None:
                    self._promote(case.step, told)
                    self._tell(case.step, [replace(found, cause=told.kind)])
                return True
        return False

    def _may_investigate(self, step: int) -> bool:
        """The second time only where the run has become twice as long; never for a trial of a search, whose values are
        there to be compared, not explained."""
        if held_at(self._context.run_dir) is not None:
            return False
        last = self._investigated[-1] if self._investigated else 0
        return len(self._investigated) < INVESTIGATIONS and step >= 2 * last

    def _compare(self, case: Case, answers: Answers) -> None:
        """Compare predictions for the validation images with those of the best evaluation, and class with class."""
        self._losses.add(answers)
        rise = self._losses.rise
        if rise is not None:
            self._repeated(case.step, "overfitting", self._held_twice("overfitting", overfitting(case, rise)))
        guesses, names = answers.guess.astype(np.int64), self._context.data.record.target_names(self._spec.target)
        if case.progress < HALF or len(guesses) != len(self._labels):
            return
        rare = rare_classes(self._spec, guesses == self._labels, self._labels, self._counts)
        if (found := self._held_twice("imbalance", rare)) is not None and "imbalance" not in self.history.problems:
            self._promote(case.step, found)
        confused = confused_classes(guesses, self._labels, names)
        self._repeated(case.step, "confused_classes", self._held_twice("confused_classes", confused))

    def _held_twice(self, kind: str, found: Finding | None) -> Finding | None:
        self._held[kind] = self._held.get(kind, 0) + 1 if found is not None else min(0, self._held.get(kind, 0)) - 1
        return found if self._held[kind] >= 2 else None

    def _dead_units(self, case: Case, model: nn.Module) -> None:
        """Measured only where the network does not learn, and told as a symptom."""
        cause = hindrance(self.history.problems)
        if cause is None or rules.learns(case) or not self.history.may_tell("dead_units"):
            return
        found = self._held_twice("dead_units", worst_dead_layer(self._context, model, self._spec.thresholds.dead_units))
        if found is not None:
            self._tell(case.step, [replace(found, cause=cause)])

    def _repeated(self, step: int, kind: str, found: Finding | None) -> None:
        """Tell a finding, or withdraw it if its rule has not held at two looks in a row."""
        if found is not None and self.history.may_tell(kind):
            self._tell(step, [replace(found, cause=explanation(kind, self.history.problems))])
        elif kind in self.history.active and kind != "plateau" and self._held.get(kind, 0) <= -2:
            self._withdraw(step, kind)

    def _withdraw_recovered(self, case: Case) -> None:
        earlier = case.before
        inferred = [kind for kind in INFERRED if kind in self.history.active]
        if not inferred or earlier is None or min(case.fallen, earlier.fallen) < RECOVERED:
            return
        if min(case.fallen, earlier.fallen) < RECOVERED_RATE:
            inferred = [kind for kind in inferred if kind not in ("lr_too_high", "lr_too_low")]
        if "labels" in inferred and rules.guesses(rules.replace_first(case)) is not None:
            inferred.remove("labels")
        for kind in inferred:
            self._withdraw(case.step, kind)

    def _withdraw(self, step: int, kind: str) -> None:
        kinds = [kind]
        if kind in HINDERING and hindrance(set(self.history.problems) - {kind}) is None:
            symptoms = (
                "loss_risen",
                "loss_stalled",
                "steps_too_large",
                "loss_slow",
                "gradients_vanished",
                "guesses",
                "dead_units",
            )
            kinds += [symptom for symptom in symptoms if symptom in self.history.active and symptom != kind]
        for ended in kinds:
            self.history.record.append(Told(step, ended, ended=True))
            withdraw(self._context.events, step, ended)

    def _promote(self, step: int, finding: Finding) -> None:
        """Tell a cause; a review of the same kind ends with it."""
        if finding.kind in self.history.active:
            self.history.record.append(Told(step, finding.kind, ended=True))
            withdraw(self._context.events, step, finding.kind)
        self._tell(step, [finding])

    def _case(self, plan: Plan, step: int) -> Case:
        count = len(self._context.data.val_rows)
        return Case(self._spec, plan, step, self.history, self._reference, self._guess, count)

    def _tell(self, step: int, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if finding.level != "pass":
                self.history.record.append(Told(step, finding.kind, problem=finding.level == "fail"))
            tell(self._context.events, step, finding)


def short_budget(minutes: float, step: int, steps_per_epoch: int) -> Finding:
    """A time budget that ended before the first epoch did."""
    message = (
        f"{minutes:g} minute{'' if minutes == 1 else 's'} allowed {step:,} of the {steps_per_epoch:,} steps of an "
        "epoch, as the evaluation at the end takes its share. Give the run more time."
    )
    return Finding("short_budget", "look", message, value("steps", step, steps_per_epoch))


def classes_without_validation(spec: TrainSpec, data: ResidentData, counts: Sequence[int]) -> Iterable[Finding]:
    """Yield a finding if there should be a validation split, but it has no image of some class.

    `counts` are the validation images of each class.
    """
    missing = [name for name, count in zip(data.record.target_names(spec.target), counts, strict=True) if not count]
    if not missing or not spec.validates:
        return
    which = f"{len(missing):,} class{'' if len(missing) == 1 else 'es'}: {listed(missing)}"
    if data.record.val_count:
        message = f"The validation split has no image of {which}."
    elif spec.val_folds:
        message = (
            f"Fold {spec.val_fold} of {spec.val_folds}, which is held out for validation, has no image of {which}."
        )
    else:
        few = "one training image" if spec.dataset.split_seed == "dataset" else "too few training images"
        few = few if data.record.groups is None else "images in too few groups"
        last = "" if sum(counts) else " Nothing is validated, and the last epoch is the one that is tested."
        message = f"No image is held out for validation of {which}. A class with {few} cannot spare any.{last}"
    yield Finding("unvalidated_classes", "info", message, {"classes": len(missing)})
