"""How fast a run goes, and how many steps it can take in a budget of minutes. Free of torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean

from trainer.plan.decisions import Decision
from trainer.plan.schedule import Plan, resolution
from trainer.spec.train_spec import TrainSpec

SHARE_SAMPLES = 50  # where between here and the end the resolution is looked up
GUESSED_EVALUATION = 0.35  # seconds to evaluate an image, as a share of those to train on it
REPLAN_SHARE = 0.02  # of the steps between two plans
LAST_SHARE = 0.98  # after which the plan is left alone
FIRST_STEPS = 8  # before the first plan; the very first steps are slower than the rest
MARGIN = 0.995  # of the budget is planned for
MEASUREMENTS = 60  # the newest, whose mean counts
OUTLIERS = 2  # the longest, left out: a machine that stood still for a moment must not end a run


@dataclass
class Pace:
    """Seconds a step at each resolution, and an evaluated image, as measured in this attempt."""

    spec: TrainSpec
    full: int
    batch_size: int
    test_images: int  # images of all final tests together
    epoch_images: int  # images evaluated at the end of an epoch
    measured: dict[int, deque[float]] = field(default_factory=dict)
    image_seconds: float | None = None
    planned_at: int = 0

    def stepped(self, size: int, steps: int, seconds: float) -> None:
        if steps:
            self.measured.setdefault(size, deque(maxlen=MEASUREMENTS)).append(seconds / steps)

    def evaluated(self, images: int, seconds: float) -> None:
        if images:
            self.image_seconds = seconds / images

    def follow(self, taken: Iterable[Decision]) -> None:
        """Note when the plan was last fitted, also where that is only replayed."""
        self.planned_at = max((decision.step for decision in taken if decision.kind == "plan"), default=self.planned_at)

    def wants_plan(self, plan: Plan, step: int) -> bool:
        if self.spec.budget.minutes is None or not self.measured or not plan.segment(step).own:
            return False
        # Before the first measurement the plan is but a guess, which may be far too long.
        wait = max(FIRST_STEPS, REPLAN_SHARE * plan.total_steps) if self.planned_at else FIRST_STEPS
        return step - self.planned_at >= wait and plan.share(step) < LAST_SHARE

    def total_steps(self, plan: Plan, step: int, elapsed: float) -> int:
        """The step at which the spec's schedule has to end, `elapsed` seconds of its minutes being gone."""
        assert self.spec.budget.minutes is not None
        done = plan.share(step)
        shares = [done + (1 - done) * (i + 0.5) / SHARE_SAMPLES for i in range(SHARE_SAMPLES)]
        sizes = [resolution(self.spec, share, self.full) for share in shares]
        seconds = sum(map(self._seconds_at, sizes)) / SHARE_SAMPLES
        image = self.image_seconds
        if image is None:
            image = GUESSED_EVALUATION * self._seconds_at(self.full) / self.batch_size
        seconds += self.epoch_images * image / plan.steps_per_epoch
        last = (self.epoch_images + self.test_images) * image
        left = MARGIN * 60 * self.spec.budget.minutes - elapsed - last
        total = step + max(1, round(left / seconds))
        return total if self.spec.max_steps is None else min(total, max(self.spec.max_steps, step + 1))

    def slowest_step(self) -> float:
        return max(map(typical, self.measured.values()), default=0.0)

    def _seconds_at(self, size: int) -> float:
        """Measured, or judged from the nearest measured size by the number of pixels."""
        known = min(self.measured, key=lambda other: abs(other - size))
        return typical(self.measured[known]) * (size / known) ** 2


def typical(measured: Iterable[float]) -> float:
    """The mean, without the longest few."""
    ordered = sorted(measured)
    return fmean(ordered[: max(1, len(ordered) - OUTLIERS)])
