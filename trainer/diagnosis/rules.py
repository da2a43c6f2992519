"""Rules that find problems in a run's history. Does not import torch.

Each rule is a function that returns a finding or None. The thresholds come from the spec (`thresholds.*`); the
evidence of a finding contains the threshold that was applied.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trainer.diagnosis.findings import Finding, Remedy
from trainer.diagnosis.history import Curve, History
from trainer.plan.schedule import Plan, learning_rate
from trainer.spec.train_spec import TrainSpec

WINDOW = 20  # logged points per median
FIRST_LOOK = 60  # steps before which only an exploding loss is reported
EPOCHS = 3  # evaluations per median of a curve with one value per evaluation
NO_PROGRESS = 0.98  # fraction of the initial loss above which the loss has not decreased
NOISE = 0.05  # fraction of the initial loss; a smaller increase counts as noise


@dataclass(frozen=True)
class Case:
    """The input of a rule.

    `guess` is the fraction of the most frequent class among the `val_count` validation images. `epoch_ended` says
    that the validation metrics of this step have just been added to `history`.
    """

    spec: TrainSpec
    plan: Plan
    step: int
    history: History
    guess: float
    val_count: int
    epoch_ended: bool

    @property
    def initial_loss(self) -> float:
        """The loss at initialization: the first logged one, for cross-entropy at most log(number of classes)."""
        first = self.history["train/loss"].values[0]
        return min(first, math.log(self.class_count)) if self.spec.loss == "cross_entropy" else first

    @property
    def class_count(self) -> float:
        """The effective number of classes, 1 / `guess`, at least 2."""
        return max(2.0, 1 / max(self.guess, 1e-6))

    @property
    def rate(self) -> float:
        """The current learning rate as a fraction of the highest one of the schedule."""
        highest = max(part.lr for part in self.plan.segments)
        return learning_rate(self.plan, min(self.step, self.plan.total_steps - 1)) / highest

    @property
    def chance_level(self) -> float:
        """The upper limit of the accuracy of guessing: `guess` plus two standard deviations (exceeded in about 2%)."""
        return self.guess + 2 * math.sqrt(self.guess * (1 - self.guess) / max(1, self.val_count))

    @property
    def epochs_done(self) -> int:
        return len(self.history["val/acc"])

    @property
    def progress(self) -> float:
        """The fraction of the planned steps that is done."""
        return self.step / max(1, self.plan.total_steps)


def diagnose(case: Case) -> Iterator[Finding]:
    """Yield the findings that apply now and were not reported before, and add them to the history."""
    if case.spec.schedule.name == "range_test" or case.spec.overfit_one_batch or not len(case.history["train/loss"]):
        return
    for kind, rule in RULES.items():
        if kind in case.history.told or any(other in case.history.told for other in EXPLAINED_BY.get(kind, ())):
            continue
        if (finding := rule(case)) is not None:
            case.history.told[kind] = case.step
            yield finding


def diverged(spec: TrainSpec, history: History, step: int) -> Finding:
    """Return the finding for a loss that is NaN or infinite, which ends the run."""
    message = f"The training loss is NaN or infinite at step {step:,}: the learning rate is too high."
    lines = {"training loss": [*_finite(history["train/loss"])]}
    return Finding("diverged", "fail", message, {"lines": lines}, _with_rate(spec, 0.1))


def rate_too_high(case: Case) -> Finding | None:
    """Report a loss that has risen, or that does not fall although the updates are large relative to the weights."""
    loss, ratio = case.history["train/loss"], case.history["update/ratio"]
    if len(loss) < WINDOW:
        return None
    now, above = statistics.median(loss.values[-WINDOW:]), 1 + case.spec.thresholds.rise
    lines = {"training loss": loss.drawn()}
    if now > above * case.initial_loss:
        message = (
            f"The training loss has risen to {now:.3g}, from {case.initial_loss:.3g} at initialization: "
            f"the learning rate, {case.spec.optimizer.lr:g}, is too high."
        )
        evidence = {"measured": now / case.initial_loss, "threshold": above, "lines": lines, "level": case.initial_loss}
        return Finding("lr_too_high", "fail", message, evidence, _with_rate(case.spec, 0.1))
    if case.step < FIRST_LOOK or not len(ratio) or case.spec.optimizer.name == "muon":
        return None  # the size of Muon's updates depends on the learning rate alone, not on the loss
    moved, limit = statistics.median(ratio.values[-WINDOW:]), case.spec.thresholds.update_ratio
    if now > NO_PROGRESS * case.initial_loss and moved > limit and case.rate > 0.5:
        message = (
            f"The loss does not fall ({now:.3g} after {case.step:,} steps) while each step moves the weights by "
            f"{100 * moved:.1g}% of their size: the learning rate, {case.spec.optimizer.lr:g}, is too high."
        )
        lines["update to weight"] = ratio.drawn()
        evidence = {"measured": moved, "threshold": limit, "lines": lines}
        return Finding("lr_too_high", "fail", message, evidence, _with_rate(case.spec, 0.1))
    return None


def rate_too_low(case: Case) -> Finding | None:
    """Report a loss that hardly falls while the updates are small relative to the weights."""
    loss, ratio = case.history["train/loss"], case.history["update/ratio"]
    if not case.epoch_ended or case.epochs_done < 2 or len(loss) < 2 * WINDOW or not len(ratio):
        return None
    now, moved = statistics.median(loss.values[-WINDOW:]), statistics.median(ratio.values[-WINDOW:])
    decrease, limit = 1 - now / case.initial_loss, case.spec.thresholds.slow_ratio
    if -NOISE < decrease < case.spec.thresholds.slow_fall and 0 < moved < limit and case.rate > 0.5:
        message = (
            f"After {case.epochs_done} epochs the loss has fallen by {100 * decrease:.1f}% only, and a step moves the "
            f"weights by {moved:.1e} of their size (about 1e-3 is common): the learning rate, "
            f"{case.spec.optimizer.lr:g}, is too low."
        )
        evidence = {"measured": moved, "threshold": limit, "lines": {"training loss": loss.drawn()}}
        return Finding("lr_too_low", "warn", message, evidence, _with_rate(case.spec, 10))
    return None


def dead_network(case: Case) -> Finding | None:
    """Report gradients of zero in the last three measurements."""
    norms = case.history["grad/norm"].values[-3:]
    if case.step < FIRST_LOOK or len(norms) < 3 or max(norms) > case.spec.thresholds.dead_gradient:
        return None
    if case.history["train/acc"].values[-1] > 0.9:
        return None  # the training set is memorized, so gradients near zero are normal
    message = f"Gradients are zero (norm {max(norms):.1e}): gradients vanished, no step changes the weights."
    lines = {"gradient norm": case.history["grad/norm"].drawn()}
    evidence = {"measured": max(norms), "threshold": case.spec.thresholds.dead_gradient, "lines": lines}
    return Finding("dead", "fail", message, evidence, _with_rate(case.spec, 0.1))


def memorization_only(case: Case) -> Finding | None:
    """Report training images that are memorized while the validation accuracy stays at the level of guessing.

    Labels that do not match their images are a typical cause.
    """
    val = case.history["val/acc"]
    if not case.epoch_ended or len(val) < EPOCHS or case.val_count < 50:
        return None
    best, train = statistics.median(val.values[-EPOCHS:]), statistics.median(_training_accuracy(case).values[-EPOCHS:])
    if best > case.chance_level or train < case.guess + case.spec.thresholds.by_heart:
        return None
    message = (
        f"{100 * train:.0f}% of the training images are learned, yet on others the network is no better than "
        f"guessing ({100 * best:.1f}%, guessing gives {100 * case.guess:.1f}%): labels may not belong to "
        "their images. Check the dataset."
    )
    lines = {"training accuracy": _training_accuracy(case).drawn(), "validation accuracy": val.drawn()}
    return Finding("by_heart_only", "fail", message, {"measured": best, "threshold": case.chance_level, "lines": lines})


def no_better_than_guessing(case: Case) -> Finding | None:
    """Report a validation accuracy that has never exceeded the level of guessing."""
    val = case.history["val/acc"]
    if not case.epoch_ended or len(val) < EPOCHS or case.val_count < 50 or case.progress < 0.02:
        return None
    if max(val.values) > case.chance_level or case.step < 200:
        return None
    message = (
        f"After {len(val)} epochs the network is no better than guessing: {100 * max(val.values):.1f}% at best, where "
        f"the commonest class gives {100 * case.guess:.1f}%. See the checks and the dataset."
    )
    lines = {"validation accuracy": val.drawn()}
    evidence = {"measured": max(val.values), "threshold": case.chance_level, "lines": lines}
    return Finding("no_better_than_guessing", "fail", message, evidence)


def overfitting(case: Case) -> Finding | None:
    """Report a validation loss that rises from its minimum while the training loss falls.

    The validation loss is the moving median over EPOCHS evaluations.
    """
    val, train, patience = case.history["val/loss"], case.history.training, case.spec.thresholds.patience
    if not case.epoch_ended or len(val) < EPOCHS + patience:
        return None
    smooth = val.medians(EPOCHS)
    lowest = min(range(len(smooth)), key=smooth.__getitem__)
    turned = val.steps[lowest + EPOCHS - 1]
    rise, limit = smooth[-1] / max(smooth[lowest], 1e-12) - 1, case.spec.thresholds.overfit_rise
    then, now = train.at(turned), train.at(case.step)
    if len(smooth) - 1 - lowest < patience or rise < limit or then is None or now is None or now > 0.97 * then:
        return None
    message = (
        f"Overfitting since epoch {case.plan.epoch_of(turned)}: the validation loss has risen by {100 * rise:.0f}% "
        f"from its lowest ({smooth[lowest]:.3g}) while the training loss fell from {then:.3g} to {now:.3g}."
    )
    lines = {"training loss": train.drawn(), "validation loss": val.drawn()}
    evidence = {"measured": rise, "threshold": limit, "lines": lines, "turn": turned}
    return Finding("overfitting", "warn", message, evidence, _regularized(case.spec))


def plateau(case: Case) -> Finding | None:
    """Report training loss and validation accuracy that no longer improve at a constant learning rate."""
    loss, patience = case.history.training, case.spec.thresholds.patience
    val = case.history["val/acc"]
    window = max(patience + 2, case.plan.epochs // 10)
    if not case.epoch_ended or case.spec.schedule.name != "constant" or len(val) < window + EPOCHS:
        return None
    before, now = loss.at(val.steps[-1 - window]), loss.at(case.step)
    recent, earlier = max(val.values[-window:]), max(val.values[:-window])
    if before is None or now is None or _training_accuracy(case).values[-1] > 0.95:
        return None
    gained, limit = 1 - now / before, case.spec.thresholds.plateau
    if gained > limit or recent > earlier:
        return None
    message = (
        f"Nothing has improved for {window} epochs: the training loss fell by {100 * gained:.1f}%, the validation "
        "accuracy not at all. A rate that falls to the end often goes further."
    )
    lines = {"training loss": loss.drawn(), "validation accuracy": val.drawn()}
    return Finding("plateau", "info", message, {"measured": gained, "threshold": limit, "lines": lines}, ANNEALED)


def unstable_predictions(case: Case) -> Finding | None:
    """Report predictions that still change between evaluations in the last fifth of training."""
    flips = case.history["val/flips"]
    if not case.epoch_ended or case.progress < 0.8 or len(flips) < EPOCHS or case.val_count < 100:
        return None
    now, limit = statistics.median(flips.values[-EPOCHS:]), case.spec.thresholds.flips
    if now < limit:
        return None
    message = (
        f"Late in training {100 * now:.0f}% of the predictions still change from one epoch to the next: the learning "
        "rate is high for this late stage."
    )
    evidence = {"measured": now, "threshold": limit, "lines": {"answers changed": flips.drawn()}}
    return Finding("restless", "info", message, evidence, ANNEALED if case.spec.schedule.name == "constant" else None)


ANNEALED = Remedy("a cosine schedule", {"schedule.name": "cosine"})
RULES: dict[str, Callable[[Case], Finding | None]] = {
    "lr_too_high": rate_too_high,
    "dead": dead_network,
    "lr_too_low": rate_too_low,
    "by_heart_only": memorization_only,
    "no_better_than_guessing": no_better_than_guessing,
    "overfitting": overfitting,
    "plateau": plateau,
    "restless": unstable_predictions,
}
# Kind of finding -> the kinds that explain it: it is not reported after one of them.
EXPLAINED_BY = {
    "no_better_than_guessing": ("lr_too_high", "lr_too_low", "dead", "same_answer", "by_heart_only", "check/input"),
    "overfitting": ("by_heart_only",),
    "by_heart_only": ("check/input",),
    "dead": ("check/input",),
    "plateau": (
        "check/input",
        "lr_too_high",
        "lr_too_low",
        "dead",
        "same_answer",
        "overfitting",
        "no_better_than_guessing",
    ),
    "restless": ("lr_too_high", "overfitting", "by_heart_only", "no_better_than_guessing"),
    "lr_too_low": ("lr_too_high", "dead"),
}


def _training_accuracy(case: Case) -> Curve:
    clean = case.history["train_clean/acc"]
    return clean if len(clean) else case.history["train/acc"]


def _finite(curve: Curve) -> list[list[float]]:
    steps, values = curve.drawn()
    kept = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    return [[step for step, _ in kept], [value for _, value in kept]]


def _with_rate(spec: TrainSpec, factor: float) -> Remedy:
    rate = float(f"{spec.optimizer.lr * factor:.2g}")
    return Remedy(f"learning rate {rate:g}", {"optimizer.lr": rate})


def _regularized(spec: TrainSpec) -> Remedy | None:
    """Return the first regularization that the spec does not use yet; None if it uses all of them."""
    if not spec.augment.changes_images:
        return Remedy("random crop and flip", {"augment.flip": True, "augment.crop": 4})
    if not spec.optimizer.weight_decay:
        return Remedy("weight decay 5e-4", {"optimizer.weight_decay": 5e-4})
    if not spec.augment.cutout and not spec.augment.trivial:
        return Remedy("TrivialAugment", {"augment.trivial": True})
    if not spec.label_smoothing and spec.loss == "cross_entropy":
        return Remedy("label smoothing 0.1", {"label_smoothing": 0.1})
    return None
