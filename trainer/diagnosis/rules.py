"""Rules that look at a run's history. Does not import torch.

Each rule is a function of a case, the history up to one step. A finding is told if its rule holds at two looks in a
row, so each rule is also asked about the look before. Looks are counted in steps, or in evaluations.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from trainer.diagnosis.findings import Finding, Remedy, value
from trainer.diagnosis.history import Curve, History
from trainer.diagnosis.reference import Reference
from trainer.diagnosis.trend import Trend, trend
from trainer.plan.schedule import Plan, learning_rate
from trainer.spec.train_spec import TrainSpec

LOOKS = 20  # looks per run, at least SHORTEST and at most LONGEST steps apart
SHORTEST, LONGEST = 50, 2000
FIRST_LOOK = 100  # steps before which a loss that does not fall says nothing
START = 5  # first logged steps, whose median loss is the run's own start
NO_PROGRESS = 0.02  # of the possible decrease of the loss: less is none
SLOW_SHARE = 0.2  # of the run, before which a slow decrease says nothing
LARGE_STEP = 0.08  # step / weights, in norms: about 1e-3 is common
MEASURED = 10  # first measurements of it
ENOUGH = 50  # validation images below which accuracies say nothing
GUESSING_STEPS = 300
Z = 3.0  # standard errors


@dataclass(frozen=True)
class Case:
    """The input of a rule: the history up to `step`.

    `guess` is the fraction of the most frequent class among the `val_count` validation images.
    """

    spec: TrainSpec
    plan: Plan
    step: int
    history: History
    reference: Reference
    guess: float
    val_count: int

    @cached_property
    def loss(self) -> Curve:
        return self.history["train/loss"].until(self.step)

    @cached_property
    def window(self) -> Curve:
        """The training loss in the last `span` steps."""
        return self.loss.between(self.step - self.span, self.step)

    @property
    def span(self) -> int:
        """The steps that the trend is taken over: the second half of the run so far."""
        return max(look_interval(self.plan), self.step // 2)

    @cached_property
    def now(self) -> float:
        """The loss of the last steps; NaN if it is not known."""
        last = self.loss.between(self.step - look_interval(self.plan), self.step).values
        return statistics.median(last) if last else math.nan

    @cached_property
    def trend(self) -> Trend:
        return trend(self.window.steps, self.window.values)

    @cached_property
    def start(self) -> float:
        """The loss at the run's start, at least that of a network that knows only the class frequencies."""
        return max(statistics.median(self.loss.values[:START]), self.loss.values[0], self.reference.prior)

    @property
    def fallen(self) -> float:
        """The decrease of the loss below guessing, as a share of the possible decrease."""
        return (self.reference.prior - self.now) / self.reference.range

    @property
    def rate(self) -> float:
        """The current learning rate as a fraction of the highest one of the schedule."""
        highest = max(part.lr for part in self.plan.segments)
        return learning_rate(self.plan, min(self.step, self.plan.total_steps - 1)) / highest

    @property
    def chance_level(self) -> float:
        """The upper limit of the accuracy of guessing: `guess` plus three standard errors."""
        return self.guess + Z * math.sqrt(self.guess * (1 - self.guess) / max(1, self.val_count))

    @property
    def progress(self) -> float:
        return self.step / max(1, self.plan.total_steps)

    def validation(self, name: str) -> Curve:
        return self.history[f"val/{name}"].until(self.step)

    @property
    def before(self) -> Case | None:
        """The case of the look before; None at the first."""
        step = self.step - look_interval(self.plan)
        return replace(self, step=step) if step > 0 else None

    @property
    def evaluation_before(self) -> Case | None:
        """The case of the evaluation before; None at the first."""
        steps = [step for step in self.history["val/acc"].steps if step < self.step]
        return replace(self, step=steps[-1]) if steps else None


Rule = Callable[[Case], Finding | None]


def look_interval(plan: Plan) -> int:
    return min(LONGEST, max(SHORTEST, plan.total_steps // LOOKS))


def is_look(plan: Plan, step: int, last: int) -> bool:
    """Whether a look is due at a logged step, `last` being the logged step before."""
    interval = look_interval(plan)
    return step // interval > last // interval


def twice(rule: Rule, case: Case, *, evaluations: bool = False) -> Finding | None:
    """Return the rule's finding if it holds at this look and at the one before."""
    earlier = case.evaluation_before if evaluations else case.before
    if earlier is None or not len(earlier.loss) or rule(earlier) is None:
        return None
    return rule(case)


def loss_risen(case: Case) -> Finding | None:
    """The loss lies above the run's own start, and does not fall."""
    above = 1 + case.spec.thresholds.rise
    if case.step < SHORTEST or not case.now > above * case.start:
        return None
    if case.trend.low * case.span < -NO_PROGRESS * case.now:
        return None
    message = f"The training loss is {case.now:.3g}; it started at {case.start:.3g}."
    evidence = value("training loss / loss at the start", case.now / case.start, above)
    return Finding("loss_risen", "info", message, {**evidence, **_loss_line(case)})


def loss_stalled(case: Case) -> Finding | None:
    """The loss is that of guessing, and its trend excludes a decrease that matters."""
    if case.step < FIRST_LOOK or case.rate < 0.1 or not case.fallen < NO_PROGRESS:
        return None
    fall = -case.trend.low * case.span / case.reference.range
    if fall > NO_PROGRESS:
        return None
    message = (
        f"The training loss does not fall: {case.now:.3g} after {case.step:,} steps; the class frequencies alone give "
        f"{case.reference.prior:.3g}."
    )
    evidence = value("decrease of the loss, share of the possible one", 100 * case.fallen, 100 * NO_PROGRESS, "%")
    return Finding("loss_stalled", "info", message, {**evidence, **_loss_line(case)})


def loss_slow(case: Case) -> Finding | None:
    """At its present pace the loss will hardly have fallen when the run ends."""
    if case.step < FIRST_LOOK or case.progress < SLOW_SHARE or case.rate < 0.1:
        return None
    steepest = max(0.0, -case.trend.low) * (case.plan.total_steps - case.step) / case.reference.range
    expected, limit = max(0.0, case.fallen) + steepest, case.spec.thresholds.slow_fall
    if not expected < limit:
        return None
    message = (
        f"The training loss falls too slowly: {case.now:.3g} after {case.step:,} of {case.plan.total_steps:,} steps. "
        f"At this pace it will have fallen by at most {100 * expected:.3g}% of what is possible."
    )
    evidence = value("expected decrease, share of the possible one", 100 * expected, 100 * limit, "%")
    return Finding("loss_slow", "info", message, {**evidence, **_loss_line(case)})


def steps_too_large(case: Case) -> Finding | None:
    """A step replaces a good part of the weights, and the loss has hardly fallen.

    Not with Muon, whose steps have that size by design, and are judged before training.
    """
    ratios = case.history["update/ratio"].until(case.step).values[:MEASURED]
    if case.spec.optimizer.name == "muon" or len(ratios) < 3 or case.fallen > 5 * NO_PROGRESS:
        return None
    moved = statistics.median(ratios)
    if not moved > LARGE_STEP:
        return None
    message = f"The first steps change the weights by {100 * moved:.3g}% each (threshold {100 * LARGE_STEP:g}%)."
    evidence = value("step / weights", 100 * moved, 100 * LARGE_STEP, "%")
    return Finding("steps_too_large", "info", message, {**evidence, **_loss_line(case)})


def learns(case: Case) -> bool:
    """Whether the training loss has fallen clearly below guessing."""
    return case.fallen > 5 * NO_PROGRESS and case.now < case.start


def gradients_vanished(case: Case) -> Finding | None:
    """Gradients of zero in the last three measurements."""
    norms = case.history["grad/norm"].until(case.step).values[-3:]
    limit = case.spec.thresholds.dead_gradient
    if case.step < SHORTEST or len(norms) < 3 or max(norms) > limit or learns(case):
        return None
    message = f"The gradient norm is {max(norms):.3g}: no step changes the weights."
    lines = {"gradient norm": case.history["grad/norm"].until(case.step).drawn()}
    return Finding("gradients_vanished", "info", message, {**value("gradient norm", max(norms), limit), "lines": lines})


def guesses(case: Case) -> Finding | None:
    """The validation accuracy has never exceeded the level of guessing."""
    accuracy = case.validation("acc")
    if case.val_count < ENOUGH or case.step < GUESSING_STEPS or not len(accuracy):
        return None
    best = max(accuracy.values)
    if best > case.chance_level:
        return None
    message = (
        f"The validation accuracy is {100 * best:.3g}% at best after {case.step:,} steps; the most frequent class "
        f"alone gives {100 * case.guess:.3g}%."
    )
    evidence = value("validation accuracy", 100 * best, 100 * case.chance_level, "%")
    return Finding("guesses", "info", message, {**evidence, "lines": {"validation accuracy": accuracy.drawn()}})


def memorized_only(case: Case) -> Finding | None:
    """Training images are memorized while the validation accuracy stays at the level of guessing."""
    if guesses(replace_first(case)) is None:
        return None
    accuracy, train = case.validation("acc"), case.history.training_accuracy.until(case.step)
    now = statistics.median(train.values[-3:]) if len(train) else 0.0
    if now < case.guess + case.spec.thresholds.by_heart:
        return None
    best = max(accuracy.values)
    message = (
        f"{100 * now:.3g}% of the training images are memorized, yet the validation accuracy is {100 * best:.3g}% at "
        f"best, and guessing gives {100 * case.guess:.3g}%: nothing learned holds for other images. "
        "The labels may not belong to their images. Check the dataset."
    )
    lines = {"training accuracy": train.drawn(), "validation accuracy": accuracy.drawn()}
    evidence = value("validation accuracy", 100 * best, 100 * case.chance_level, "%")
    return Finding("labels", "fail", message, {**evidence, "lines": lines})


def replace_first(case: Case) -> Case:
    """The same case for a rule that waits for GUESSING_STEPS: memorized images are evidence at any step."""
    return replace(case, step=max(case.step, GUESSING_STEPS))


def plateau(case: Case) -> Finding | None:
    """At a constant learning rate, neither the training loss nor the validation accuracy improves any more."""
    accuracy, epochs = case.validation("acc"), case.spec.thresholds.patience + 2
    width = max(epochs, case.plan.epochs // 10)
    if (
        case.spec.schedule.name != "constant"
        or len(accuracy) < 2 * width
        or case.val_count < ENOUGH
        or not learns(case)
    ):
        return None
    loss = case.history["train/loss"].between(accuracy.steps[-width], case.step)
    slope = trend(loss.steps, loss.values)
    gained = -slope.low * (case.step - accuracy.steps[-width]) / max(case.now, 1e-9)
    recent, earlier = max(accuracy.values[-width:]), max(accuracy.values[:-width])
    limit = case.spec.thresholds.plateau
    if gained > limit or recent > earlier or case.history.training_accuracy.values[-1] > 0.95:
        return None
    message = (
        f"Neither training loss nor validation accuracy has improved for {width} epochs at a constant learning rate. A "
        "schedule that lowers the rate often improves both."
    )
    evidence = value("decrease of the training loss", 100 * gained, 100 * limit, "%")
    remedy = Remedy("a cosine schedule", {"schedule.name": "cosine"})
    return Finding("plateau", "info", message, {**evidence, **_loss_line(case)}, remedy)


def _loss_line(case: Case) -> dict[str, dict[str, list[list[float]]]]:
    return {"lines": {"training loss": finite(case.loss)}}


def finite(curve: Curve) -> list[list[float]]:
    """Return the finite values of a curve for a plot."""
    steps, values = curve.drawn()
    kept = [(step, item) for step, item in zip(steps, values, strict=True) if math.isfinite(item)]
    return [[step for step, _ in kept], [item for _, item in kept]]
