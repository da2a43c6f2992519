"""Decisions and what they do to a run's plan: new ones come from people, from measured speed, and from the record."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trainer.plan.decisions import Decision, Decisions
from trainer.plan.pace import Pace
from trainer.plan.schedule import Plan, extended, replanned, wound_down
from trainer.rundir.folder import WIND_DOWN_FILE, extensions
from trainer.spec.train_spec import ScheduleSpec, TrainSpec

COMPILE_AT = 48  # steps after which the first curve is on the screen
WORTH_COMPILING_SECONDS = 240.0  # of eager training still ahead


def replay(plan: Plan, taken: Iterable[Decision], compiling: bool = False) -> tuple[Plan, bool]:
    """The plan, and whether the forward pass is compiled, after these decisions."""
    for decision in taken:
        values = decision.values
        match decision.kind:
            case "plan":
                plan = replanned(plan, decision.step, values["total"])
            case "extend":
                plan = extended(plan, values["epochs"], ScheduleSpec.model_validate(values["schedule"]), values["lr"])
            case "wind-down":
                plan = wound_down(plan, decision.step)
            case "compile":
                compiling = values["on"]
    return plan, compiling


def extensions_asked_for(run_dir: Path, decisions: Decisions, step: int) -> list[Decision]:
    """Decisions for the epochs that people have added since the last attempt."""
    known = sum(decision.kind == "extend" for decision in decisions.taken)
    return [decisions.take(step, "extend", **values) for values in extensions(run_dir)[known:]]


def wind_down_is_asked_for(run_dir: Path) -> bool:
    return (run_dir / WIND_DOWN_FILE).exists()


def wind_down(run_dir: Path, decisions: Decisions, step: int) -> Decision:
    """Anneal from here. The request is taken away once the decision is durable."""
    decision = decisions.take(step, "wind-down")
    (run_dir / WIND_DOWN_FILE).unlink()
    return decision


def wants_compiled(spec: TrainSpec, plan: Plan, step: int, compiling: bool, compilable: bool, pace: Pace) -> bool:
    """Whether to compile now: once the curve is on the screen, if enough of the run is left to gain by it."""
    if compiling or not compilable or step != COMPILE_AT:
        return False
    if spec.compile == "on":
        return True
    return pace.slowest_step() * (plan.total_steps - step) > WORTH_COMPILING_SECONDS
