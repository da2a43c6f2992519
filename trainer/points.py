"""The training points of a run: taken at logged steps without waiting for a GPU, written once it has computed them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from torch import Tensor

from trainer.diagnosis.watch import Watch
from trainer.engine.compiling import Passes
from trainer.engine.context import Context
from trainer.engine.moments import Moment
from trainer.engine.range_test import RangeTest
from trainer.errors import TrainerError
from trainer.plan.pace import Pace
from trainer.plan.schedule import Plan

GRADIENT_SERIES = ("grad/norm", "update/ratio")


class TrainingDiverged(TrainerError):
    """The training loss is not finite."""

    code = "diverged"

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(f"The training loss became non-finite at step {step}: try a lower learning rate.")


@dataclass(frozen=True)
class Point:
    """A logged step. `steps` were taken from `began` to `ended`, the last one on images of `size` × `size` pixels, and
    all of them `compiled` or eager.

    `numbers` are on the CPU once `ended` has come: mean loss, mean accuracy, and the GRADIENT_SERIES if measured.
    """

    plan: Plan
    step: int
    rate: float
    size: int
    steps: int
    compiled: bool
    began: Moment
    ended: Moment
    numbers: Tensor


class Points:
    """Writes the points after `step` in order, times the steps between them, and ends the run if the loss diverges.

    Before an evaluation, a checkpoint, a decision and the end, all points are written: `write(everything=True)`.
    """

    def __init__(self, context: Context, batch_size: int, pace: Pace, passes: Passes, watch: Watch, step: int) -> None:
        self._context, self._batch_size = context, batch_size
        self._pace, self._passes, self._watch = pace, passes, watch
        self._pending: deque[Point] = deque()
        self._finite_at = step
        self._range_test = context.spec.schedule.name == "range_test"
        self.range_test = RangeTest()
        self.opens_phase = True  # the next point is the first one after a phase without points
        self.restart(step)

    def restart(self, step: int) -> None:
        """Count only what happens from now on, after `step` steps, as time of training."""
        self._began, self._began_at = Moment(self._context.device), step

    def take(self, plan: Plan, step: int, rate: float, size: int, numbers: Tensor) -> None:
        """Take a point. `numbers` are copied from the device when it has computed them."""
        on_gpu = numbers.device.type == "cuda"
        copied = numbers.to("cpu", non_blocking=on_gpu)  # to pinned memory, without waiting
        ended = Moment(self._context.device)
        steps, compiled = step - self._began_at, self._passes.are_compiled
        self._pending.append(Point(plan, step, rate, size, steps, compiled, self._began, ended, copied))
        self._began, self._began_at = ended, step

    def write(self, *, everything: bool = False) -> None:
        """Write the points that are computed, or wait for `everything` that was taken.

        Raises TrainingDiverged, and CompiledPassFailed if the compiler may be at fault.
        """
        while self._pending and not self.end_range_test and (everything or self._pending[0].ended.has_come):
            point = self._pending.popleft()
            if not point.ended.has_come:
                point.ended.wait()
            self._write(point)

    @property
    def end_range_test(self) -> bool:
        """Whether the rate is so high that a learning-rate range test is done."""
        return self._range_test and self.range_test.broken

    def _write(self, point: Point) -> None:
        step, events = point.step, self._context.events
        loss, accuracy, *gradient = point.numbers.tolist()
        seconds = point.ended.seconds_since(point.began)
        speed = point.steps * self._batch_size / max(1e-9, seconds)
        values = {"train/loss": loss, "train/acc": accuracy, "lr": point.rate, "throughput": speed}
        values |= zip(GRADIENT_SERIES, gradient, strict=False)
        events.metrics(step, values)
        if step > 2:
            self._pace.stepped(point.size, point.steps, seconds, compiled=point.compiled)
        if self.opens_phase:
            self.opens_phase = False
            events.emit("phase", phase="training")
        self.range_test.add(point.rate, loss)
        if self.end_range_test:
            return
        if not math.isfinite(loss):
            self._passes.check(step, self._finite_at)
            self._watch.diverged(step)
            raise TrainingDiverged(step)
        self._finite_at = step
        if self._watch.logged(point.plan, step, values):
            self._began = Moment(self._context.device)  # experiments do not count as training time
