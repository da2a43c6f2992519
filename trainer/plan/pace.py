"""The measured speed of a run, and the number of steps that fit into its time budget. Free of torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean, median

from trainer.plan.decisions import Decision
from trainer.plan.schedule import Plan, resolution
from trainer.spec.train_spec import TrainSpec

SHARE_SAMPLES = 50  # points between the current step and the end at which the resolution is read
GUESSED_EVALUATION = 0.35  # time to evaluate an image, as a share of the time to train on it
REPLAN_SHARE = 0.02  # of all steps, between two plans
LAST_SHARE = 0.98  # of the schedule, after which the plan is no longer changed
FIRST_STEPS = 8  # before the first plan; the very first steps are slower than later ones
MARGIN = 0.995  # share of the budget that is planned
TRIED = 4  # measurements of compiled and of eager steps, before they are compared
COMPILED_SHARE = 0.98  # of the time of an eager step: a compiled one has to take less
MEASUREMENTS = 60  # the newest ones, which are averaged
OUTLIERS = 2  # the longest ones, left out of the mean: a short pause of the machine must not end a run


@dataclass(frozen=True)
class Compared:
    """Seconds per compiled and per eager step, of the same trial."""

    compiled: float
    eager: float

    @property
    def compiling_pays(self) -> bool:
        return self.compiled < COMPILED_SHARE * self.eager


@dataclass
class Pace:
    """Seconds per step, and per evaluated image, measured in this attempt.

    `measured` has the newest measurements of each resolution, in compiled and in eager steps; `compiled` tells how the
    latest of them was executed.
    """

    spec: TrainSpec
    full: int
    batch_size: int
    test_images: int  # images of all final tests together
    epoch_images: int  # images evaluated at the end of an epoch
    measured: dict[tuple[int, bool], deque[float]] = field(default_factory=dict)
    compiled: bool = False
    image_seconds: float | None = None
    planned_at: int = 0
    guess: float = 0.0  # seconds per step, as long as none is measured

    def stepped(self, size: int, steps: int, seconds: float, *, compiled: bool = False) -> None:
        if steps:
            self.measured.setdefault((size, compiled), deque(maxlen=MEASUREMENTS)).append(seconds / steps)
            self.compiled = compiled

    def evaluated(self, images: int, seconds: float) -> None:
        if images:
            self.image_seconds = seconds / images

    def forget(self) -> None:
        """Forget the measured steps: the next ones are executed in another way, and take about as long until then."""
        self.guess = self.slowest_step()
        self.measured.clear()

    def compared(self) -> Compared | None:
        """Compare compiled with eager steps of the same resolution; None if too few of both are measured.

        Medians are compared: the first compiled step takes the compiler's time.
        """
        for size, compiled in self.measured:
            both = [self.measured.get((size, how), ()) for how in (True, False)]
            if compiled and all(len(measured) >= TRIED for measured in both):
                return Compared(*map(median, both))
        return None

    def follow(self, taken: Iterable[Decision]) -> None:
        """Update the step of the last plan from decisions, replayed ones included."""
        self.planned_at = max((decision.step for decision in taken if decision.kind == "plan"), default=self.planned_at)

    def wants_plan(self, plan: Plan, step: int) -> bool:
        if self.spec.budget.minutes is None or not self.measured or not plan.segment(step).own:
            return False
        # Before the first measurement the plan is only a guess, possibly far too long.
        wait = max(FIRST_STEPS, REPLAN_SHARE * plan.total_steps) if self.planned_at else FIRST_STEPS
        return step - self.planned_at >= wait and plan.share(step) < LAST_SHARE

    def total_steps(self, plan: Plan, step: int, elapsed: float) -> int:
        """The step at which the spec's schedule has to end, if `elapsed` seconds of the budget are used at `step`."""
        assert self.spec.budget.minutes is not None
        done = plan.share(step)
        shares = [done + (1 - done) * (i + 0.5) / SHARE_SAMPLES for i in range(SHARE_SAMPLES)]
        sizes = [resolution(self.spec, share, self.full) for share in shares]
        speeds = self._speeds()
        seconds = sum(seconds_at(size, speeds) for size in sizes) / SHARE_SAMPLES
        image = self.image_seconds
        if image is None:
            image = GUESSED_EVALUATION * seconds_at(self.full, speeds) / self.batch_size
        seconds += self.epoch_images * image / plan.steps_per_epoch
        last = (self.epoch_images + self.test_images) * image
        left = MARGIN * 60 * self.spec.budget.minutes - elapsed - last
        total = step + max(1, round(left / seconds))
        return total if self.spec.max_steps is None else min(total, max(self.spec.max_steps, step + 1))

    def slowest_step(self) -> float:
        return max(self._speeds().values(), default=self.guess)

    def _speeds(self) -> dict[int, float]:
        """Seconds per step at each measured resolution, executed as at present where enough of those are measured."""
        enough = {key: measured for key, measured in self.measured.items() if len(measured) > OUTLIERS}
        for known in (enough, self.measured):
            for compiled in (self.compiled, not self.compiled):
                speeds = {size: typical(measured) for (size, how), measured in known.items() if how == compiled}
                if speeds:
                    return speeds
        return {}


def seconds_at(size: int, speeds: dict[int, float]) -> float:
    """Seconds per step at `size`: measured, or scaled by the number of pixels from the nearest measured size."""
    known = min(speeds, key=lambda other: abs(other - size))
    return speeds[known] * (size / known) ** 2


def typical(measured: Iterable[float]) -> float:
    """The mean without the OUTLIERS largest values."""
    ordered = sorted(measured)
    return fmean(ordered[: max(1, len(ordered) - OUTLIERS)])
