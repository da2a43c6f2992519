"""Decides by measurement how a run goes on: as remembered from an earlier run, or as a probe finds out."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from trainer.engine.batches import Batches
from trainer.engine.context import Context
from trainer.engine.loss import ClassBalance, batch_loss
from trainer.engine.probe import LEAST_IMAGES, STEP_SECONDS, fastest
from trainer.engine.trainee import Trainee
from trainer.models.device import gains_by_compiling
from trainer.models.inputs import network_input
from trainer.plan.decisions import Decision, Decisions
from trainer.plan.execution import Precision, Verdict, Verdicts, Workload
from trainer.plan.pace import Pace
from trainer.plan.schedule import log_interval
from trainer.plan.steering import TRIAL_BLOCK, Course, wants_compiled, wants_probe
from trainer.system.parallel import available_cores


class Tuning:
    """What a run decides by measurement: the steps of a time budget, how the network is executed, and compiling.

    `cache` is the folder of the verdicts; None remembers nothing.
    """

    def __init__(
        self,
        context: Context,
        trainee: Trainee,
        batches: Batches,
        balance: ClassBalance,
        decisions: Decisions,
        batch_size: int,
        size: int,
        cache: Path | None,
    ) -> None:
        self._context, self._trainee, self._batches = context, trainee, batches
        self._balance = balance
        self._decisions = decisions
        spec = context.spec
        self._compilable = gains_by_compiling(spec, context.device) and decisions.first("compile") is None
        self._verdicts = Verdicts(cache)
        self._at_once = -(-batch_size // (spec.gradient_accumulation * context.ranks.size))
        self._workload = Workload(
            torch.__version__, available_cores(), spec.model, self._at_once, size, spec.precision, threads_of(context)
        )
        self._verdict = self._verdicts.get(self._workload)

    def decide(
        self, course: Course, pace: Pace, step: int, elapsed: float, at: tuple[int, int], size: int
    ) -> list[Decision]:
        """Record and return what is decided before `step`.

        `elapsed`: seconds of all attempts. `at`: the epoch and the position in it of the step's batch, whose images are
        trained on at `size` × `size` pixels.
        """
        spec, take = self._context.spec, self._decisions.take
        taken: list[Decision] = []
        if pace.wants_plan(course.plan, step):
            taken.append(take(step, "plan", total=pace.total_steps(course.plan, step, elapsed)))
        if wants_probe(spec, course, step, self._context.device.type, pace):
            taken.append(take(step, "execution", **self._execution(at, size, pace.slowest_step())))
        known = None if self._verdict is None else self._verdict.compile
        if wants_compiled(spec, course, step, pace, compilable=self._compilable, known=known):
            if spec.compile == "on" or known:
                taken.append(take(step, "compile", on=True))
            else:
                taken.append(take(step, "compile", on=True, trial=max(TRIAL_BLOCK, log_interval(spec, course.plan))))
                pace.forget()  # only the steps of the trial are compared
        if course.trial is not None and course.trial.end == step and (found := pace.compared()) is not None:
            self._remember_compiling(faster=found.compiling_pays)
            milliseconds = {"compiled": round(1e3 * found.compiled, 2), "eager": round(1e3 * found.eager, 2)}
            taken.append(take(step, "compile", on=found.compiling_pays, milliseconds=milliseconds))
        return taken

    def _execution(self, at: tuple[int, int], size: int, step_seconds: float) -> dict[str, Any]:
        """Return the values of a decision: the fastest execution, and what each that was tried took.

        A step takes `step_seconds` at present.
        """
        remembered, busy = self._verdict is not None, False
        if self._verdict is None:
            raw, labels, _, _ = self._batches.take(*at)
            images = network_input(raw, self._context.constants, size)
            count = max(LEAST_IMAGES, min(self._at_once, round(len(labels) * STEP_SECONDS / max(step_seconds, 1e-6))))
            spec, now = self._context.spec, self._context.runtime.execution
            precisions: tuple[Precision, ...] = ("float32", "bf16") if spec.precision == "auto" else (now.precision,)
            probe = fastest(
                self._trainee.stepped,
                images[:count],
                labels[:count],
                lambda logits, targets: batch_loss(spec, logits, targets, self._balance),
                now,
                precisions,
                threads_are_free=not threads_of(self._context),
            )
            milliseconds = {str(execution): round(1e3 * took, 2) for execution, took in probe.seconds.items()}
            self._verdict = Verdict(probe.chosen, milliseconds)
            busy = probe.busy
            if not busy:
                self._verdicts.put(self._workload, self._verdict)
        found = self._verdict
        answer = {**asdict(found.execution), "milliseconds": found.milliseconds, "remembered": remembered}
        return answer if remembered else {**answer, "busy": busy}

    def _remember_compiling(self, *, faster: bool) -> None:
        stored = self._verdicts.get(self._workload)
        if stored is not None:
            self._verdicts.put(self._workload, replace(stored, compile=faster))


def threads_of(context: Context) -> int:
    """Return the number of threads that the user has chosen, or this rank's share of all; 0 if they may be chosen."""
    if context.ranks.are_several:
        return torch.get_num_threads()
    return context.spec.threads or (torch.get_num_threads() if os.environ.get("OMP_NUM_THREADS") else 0)
