"""The steps of a run and their learning rates, for the loop and for the launch form. Free of torch."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace

from trainer.spec.optimizer_spec import ScheduleSpec
from trainer.spec.train_spec import TrainSpec

RANGE_TEST_SPAN = 1e-5  # the range test begins at this share of the highest rate
FINISH_EARLY = ScheduleSpec(name="linear")
FINISH_EARLY_SHARE = 0.1  # of the epochs done so far
MAX_FINISH_EARLY_EPOCHS = 5


@dataclass(frozen=True)
class Segment:
    """Steps `start` ≤ step < `stop`, over which a schedule advances from the share `begin` to the share `end`.

    `origin` is the step at which the schedule starts. `own`: it is the spec's own schedule, not an added one.
    """

    start: int
    stop: int
    begin: float
    end: float
    schedule: ScheduleSpec
    lr: float
    origin: int = 0
    own: bool = True

    def share(self, step: int) -> float:
        # Rounded, so that a segment that was cut reaches a milestone at the same step as before.
        return round(self.begin + (self.end - self.begin) * (step - self.start) / max(1, self.stop - self.start), 12)


@dataclass(frozen=True)
class Plan:
    batch_size: int
    steps_per_epoch: int
    segments: tuple[Segment, ...]

    @property
    def total_steps(self) -> int:
        return self.segments[-1].stop

    @property
    def epochs(self) -> int:
        return math.ceil(self.total_steps / self.steps_per_epoch)

    def epoch_of(self, step: int) -> int:
        return epoch_of(step, self.steps_per_epoch)

    def ends_epoch(self, step: int) -> bool:
        return step % self.steps_per_epoch == 0 or step == self.total_steps

    def segment(self, step: int) -> Segment:
        return next((part for part in self.segments if step < part.stop), self.segments[-1])

    def share(self, step: int) -> float:
        """Share of the spec's own schedule that is done before `step`; 1 in added segments."""
        part = self.segment(step)
        return part.share(step) if part.own else 1.0


def epoch_of(step: int, steps_per_epoch: int) -> int:
    """Return the number of the epoch, from 1, that the last of `step` steps belongs to; 0 before the first step."""
    return -(-step // max(1, steps_per_epoch))


def make_plan(spec: TrainSpec, train_count: int) -> Plan:
    """The plan for `train_count` images to train on.

    An epoch's last partial batch is left out; its images come in another order in the next epoch. With a time budget
    this is a first guess from `epochs`, which `replanned` corrects once steps have been measured.
    """
    batch_size = min(spec.batch_size, train_count)
    if batch_size > spec.devices:
        batch_size -= batch_size % spec.devices  # each device takes an equal part
    steps_per_epoch = 1 if spec.overfit_one_batch else train_count // batch_size
    total = spec.epochs * steps_per_epoch
    if spec.max_steps is not None:
        total = min(total, spec.max_steps)
    return Plan(batch_size, steps_per_epoch, (Segment(0, total, 0.0, 1.0, spec.schedule, spec.optimizer.lr),))


def replanned(plan: Plan, step: int, total: int) -> Plan:
    """Stretch or shrink the schedule at `step` so that it ends at step `total`. Added segments are moved with it."""
    kept = _until(plan, step)
    part = plan.segment(step)
    rest = replace(part, start=step, stop=max(total, step + 1), begin=part.share(step))
    moved = rest.stop - part.stop
    later = tuple(
        replace(other, start=other.start + moved, stop=other.stop + moved, origin=other.origin + moved)
        for other in plan.segments
        if other.start >= part.stop
    )
    return replace(plan, segments=(*kept, rest, *later))


def extended(plan: Plan, epochs: int, schedule: ScheduleSpec, lr: float) -> Plan:
    """Add `epochs` epochs to the plan, over which `schedule` runs once, with `lr` as its highest rate."""
    start = plan.total_steps
    stop = start + epochs * plan.steps_per_epoch
    return replace(plan, segments=(*plan.segments, Segment(start, stop, 0.0, 1.0, schedule, lr, start, own=False)))


def finished_early(plan: Plan, step: int) -> Plan:
    """Cut the plan at `step`: the rate then decays to zero over a tenth of the epochs done, but 1 to 5 epochs."""
    epochs = min(MAX_FINISH_EARLY_EPOCHS, max(1.0, FINISH_EARLY_SHARE * step / plan.steps_per_epoch))
    stop = step + min(round(epochs * plan.steps_per_epoch), plan.total_steps - step)
    annealing = Segment(step, stop, 0.0, 1.0, FINISH_EARLY, learning_rate(plan, step), step, own=False)
    return replace(plan, segments=(*_until(plan, step), annealing))


def learning_rate(plan: Plan, step: int) -> float:
    """The learning rate of step `step`, counted from 0."""
    part = plan.segment(step)
    schedule = part.schedule
    warmup = schedule.warmup_epochs * plan.steps_per_epoch
    done = step - part.origin
    if done < warmup:
        return part.lr * (done + 1) / (warmup + 1)
    # Milestones are shares of the whole run. All other schedules take place after the warm-up.
    if not warmup or schedule.name == "multi_step":
        return part.lr * rate_share(schedule, part.share(step))
    begun = _share_at(plan, part, part.origin + math.ceil(warmup))
    return part.lr * rate_share(schedule, (part.share(step) - begun) / max(1e-12, 1 - begun))


def rate_share(schedule: ScheduleSpec, done: float) -> float:
    """The learning rate as a share of the highest, when the share `done` of the schedule is done."""
    done = min(1.0, max(0.0, done))
    match schedule.name:
        case "constant":
            return 1.0
        case "cosine":
            return _between(1.0, schedule.final, 0.5 * (1 - math.cos(math.pi * done)))
        case "linear":
            return _between(1.0, schedule.final, done)
        case "one_cycle":
            if done < schedule.peak:
                return _between(0.04, 1.0, done / schedule.peak)
            return _between(1.0, schedule.final, (done - schedule.peak) / max(1e-12, 1 - schedule.peak))
        case "multi_step":
            return schedule.factor ** sum(done >= milestone for milestone in schedule.milestones)
        case "trapezoid":
            decayed = max(0.0, done - schedule.decay_from) / max(1e-12, 1 - schedule.decay_from)
            return _between(1.0, schedule.final, decayed)
        case "range_test":
            return math.exp(math.log(RANGE_TEST_SPAN) * (1 - done))


def resolution(spec: TrainSpec, share: float, full: int) -> int:
    """Image side in pixels when `share` of the run is done; `full` after the last smaller resolution."""
    steps = zip(resolutions(spec, full), spec.augment.resolution_until, strict=True)
    return next((size for size, until in steps if share < until), full)


def resolutions(spec: TrainSpec, full: int) -> list[int]:
    """The smaller resolutions in pixels: those below 1 are shares of `full`."""
    return [round(size * full) if size < 1 else int(size) for size in spec.augment.resolutions]


def steps_of_size(spec: TrainSpec, plan: Plan, step: int, full: int) -> int:
    """Steps from `step` on, with it, whose images have the same size."""
    size = resolution(spec, plan.share(step), full)
    ahead = range(step, plan.total_steps)
    return bisect_left(ahead, True, key=lambda later: resolution(spec, plan.share(later), full) != size)


def log_interval(spec: TrainSpec, plan: Plan) -> int:
    """Steps between logged training points."""
    return spec.log_every or max(1, round(plan.steps_per_epoch / 200))


def gradient_interval(interval: int) -> int:
    """Steps between gradient measurements, at least 8 of them: measuring at every step costs 5% on a CPU."""
    return interval * math.ceil(8 / interval)


def is_logged(step: int, interval: int) -> bool:
    """Whether step `step` (from 1) is logged. All of the first 16 are, so that the curve starts at once."""
    return step <= 16 or step % interval == 0


def _until(plan: Plan, step: int) -> tuple[Segment, ...]:
    """The plan's segments before `step`, the last one cut at `step`."""
    return tuple(
        replace(part, stop=min(part.stop, step), end=part.share(min(part.stop, step)))
        for part in plan.segments
        if part.start < step
    )


def _share_at(plan: Plan, part: Segment, step: int) -> float:
    """The share of `part`'s schedule at `step`, which may lie in an earlier segment of the same schedule."""
    earlier = [other for other in plan.segments if other.origin == part.origin and other.own == part.own]
    return next((other.share(step) for other in earlier if step < other.stop), 1.0)


def _between(first: float, last: float, done: float) -> float:
    return first + (last - first) * done
