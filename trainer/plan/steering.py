"""Decisions and their effect on a run's plan. They are replayed, requested by users, or made from measured speed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trainer.plan.decisions import Decision, Decisions
from trainer.plan.pace import Pace
from trainer.plan.schedule import Plan, extended, finished_early, replanned
from trainer.rundir.folder import RunDir
from trainer.rundir.spec import extensions
from trainer.spec.train_spec import ScheduleSpec, TrainSpec

COMPILE_AT = 48  # step; the first curve is shown by then
WORTH_COMPILING_SECONDS = 240.0  # of remaining eager training


def replay(plan: Plan, taken: Iterable[Decision], compiling: bool = False) -> tuple[Plan, bool]:
    """Apply the decisions `taken`; return the plan and whether the forward pass is compiled."""
    for decision in taken:
        values = decision.values
        match decision.kind:
            case "plan":
                plan = replanned(plan, decision.step, values["total"])
            case "extend":
                plan = extended(plan, values["epochs"], ScheduleSpec.model_validate(values["schedule"]), values["lr"])
            case "wind-down":
                plan = finished_early(plan, decision.step)
            case "compile":
                compiling = values["on"]
    return plan, compiling


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


def wants_compiled(spec: TrainSpec, plan: Plan, step: int, compiling: bool, compilable: bool, pace: Pace) -> bool:
    """Whether to compile at this step: once the first curve is shown, if enough of the run is left to gain by it."""
    if compiling or not compilable or step != COMPILE_AT:
        return False
    if spec.compile == "on":
        return True
    return pace.slowest_step() * (plan.total_steps - step) > WORTH_COMPILING_SECONDS
