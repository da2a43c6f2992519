"""Decisions and their effect on a run's plan. They are replayed, requested by users, or made from measured speed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.plan.decisions import Decision, Decisions
from trainer.plan.execution import Execution
from trainer.plan.pace import Pace
from trainer.plan.schedule import Plan, extended, finished_early, replanned
from trainer.rundir.folder import RunDir
from trainer.rundir.spec import extensions
from trainer.spec.optimizer_spec import ScheduleSpec
from trainer.spec.train_spec import TrainSpec

PROBE_AT = 48  # step; the first curve is shown by then
COMPILE_AT = 64  # step; by then it is known how long an eager step takes in the execution that the probe chose
WORTH_PROBING_SECONDS = 40.0  # of remaining training: the probe takes up to two
WORTH_COMPILING_SECONDS = 21.0  # of remaining eager training
TRIAL_BLOCK = 8  # steps, the fewest of a block of a trial
TRIAL_BLOCKS = 12  # recorded decisions rely on this number


@dataclass(frozen=True)
class Trial:
    """Blocks of `block` steps from step `start` on that are compiled and eager in turn, to compare their speed.

    They are executed in turn because the speed of a machine that others use as well changes within seconds.
    """

    start: int
    block: int

    @property
    def end(self) -> int:
        return self.start + TRIAL_BLOCKS * self.block

    def compiles(self, step: int) -> bool:
        return step >= self.end or (step - self.start) // self.block % 2 == 0


@dataclass(frozen=True)
class Course:
    """What has been decided so far: the plan, whether the passes are compiled, and the execution if it was probed."""

    plan: Plan
    compiling: bool = False
    execution: Execution | None = None
    trial: Trial | None = None

    def compiles(self, step: int) -> bool:
        """Whether the passes of `step` are compiled."""
        return self.compiling and (self.trial is None or self.trial.compiles(step))


def replay(course: Course, taken: Iterable[Decision]) -> Course:
    """Return the course after the decisions `taken`."""
    for decision in taken:
        plan, values = course.plan, decision.values
        match decision.kind:
            case "plan":
                course = replace(course, plan=replanned(plan, decision.step, values["total"]))
            case "extend":
                schedule = ScheduleSpec.model_validate(values["schedule"])
                course = replace(course, plan=extended(plan, values["epochs"], schedule, values["lr"]))
            case "wind-down":
                course = replace(course, plan=finished_early(plan, decision.step))
            case "compile":
                trial = Trial(decision.step, values["trial"]) if "trial" in values else None
                course = replace(course, compiling=values["on"], trial=trial)
            case "execution":
                execution = Execution(values["precision"], values["channels_last"], values["threads"])
                course = replace(course, execution=execution)
    return course


def extensions_asked_for(run_dir: Path, decisions: Decisions, step: int) -> list[Decision]:
    """Record decisions for the epochs that users have added since the last attempt, and return them."""
    known = sum(decision.kind == "extend" for decision in decisions.taken)
    return [decisions.take(step, "extend", **values) for values in extensions(run_dir)[known:]]


def finish_early_requested(run_dir: Path) -> bool:
    """Whether a user has requested to finish early."""
    return RunDir(run_dir).finish_early.exists()


def finish_early(run_dir: Path, decisions: Decisions, step: int) -> Decision:
    """Finish early: anneal from `step`. The request's file is deleted once the decision is durable."""
    decision = decisions.take(step, "wind-down")
    RunDir(run_dir).finish_early.unlink()
    return decision


def wants_probe(spec: TrainSpec, course: Course, step: int, device: str, pace: Pace) -> bool:
    """Whether to probe at this step: once the first curve is shown, if enough of the run is left to gain by it."""
    if device != "cpu" or step != PROBE_AT or course.execution is not None or spec.caches_features:
        return False
    return pace.slowest_step() * (course.plan.total_steps - step) > WORTH_PROBING_SECONDS


def wants_compiled(
    spec: TrainSpec, course: Course, step: int, pace: Pace, *, compilable: bool, known: bool | None
) -> bool:
    """Whether to compile at this step: once the first curve is shown, if enough of the run is left to gain by it.

    `compilable`: it can work, and may be faster. `known`: whether it was faster in an earlier run, if one tried it.
    """
    if course.compiling or step != COMPILE_AT or not compilable:
        return False
    if spec.compile == "on":
        return True
    return known is not False and pace.slowest_step() * (course.plan.total_steps - step) > WORTH_COMPILING_SECONDS
