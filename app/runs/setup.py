"""The settings of a run, its differences from the preset, and the command that repeats the training."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.display.formatting import number
from app.runs.public import RunPublic
from trainer.plan.decisions import Decision, recorded
from trainer.plan.execution import Execution
from trainer.spec.preset import changed_from_preset, differences, flatten
from trainer.spec.train_spec import TrainSpec


@dataclass(frozen=True)
class Difference:
    field: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Decided:
    """What was decided while a run trained, from `step` on. `measured`: milliseconds per step of what was tried.

    `busy`: other programs used the processor meanwhile.
    """

    step: int
    what: str
    measured: tuple[tuple[str, float], ...] = ()
    remembered: bool = False
    busy: bool = False


def decided(run_dir: Path) -> tuple[Decided, ...]:
    """Return how the run was executed, and what users asked for, in order; nothing if the file cannot be read."""
    try:
        return tuple(shown for decision in recorded(run_dir) if (shown := _decided(decision)) is not None)
    except (OSError, ValueError, TypeError, KeyError):
        return ()


def _decided(decision: Decision) -> Decided | None:
    values = decision.values
    match decision.kind:
        case "precision":
            return Decided(decision.step, f"{values['dtype']}")
        case "execution":
            execution = Execution(values["precision"], values["channels_last"], values["threads"])
            busy = values.get("busy", False)
            return Decided(decision.step, str(execution), _fastest_first(values), values["remembered"], busy)
        case "compile" if "trial" in values:
            return Decided(decision.step, "torch.compile tried, in turn with eager steps")
        case "compile":
            return Decided(decision.step, f"torch.compile {'on' if values['on'] else 'off'}", _fastest_first(values))
        case "extend":
            epochs = values["epochs"]
            return Decided(decision.step, f"extended by {epochs} {'epoch' if epochs == 1 else 'epochs'}")
        case "wind-down":
            return Decided(decision.step, "finish early: the learning rate falls to 0, then the test")
        case "plan":  # often, with a time budget
            return None


def _fastest_first(values: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(values.get("milliseconds", {}).items(), key=lambda item: item[1]))


def setup_of(run: RunPublic) -> tuple[tuple[tuple[str, Any], ...], tuple[Difference, ...], str]:
    """Return the settings, the differences from the preset, and the command.

    The last two are empty if the preset is unknown.
    """
    spec = run.train_spec
    settings = tuple(flatten(spec).items())
    changed = changed_from_preset(spec)
    if spec.preset is None or changed is None:
        return settings, (), ""
    words = ["trackside", "train", "--preset", spec.preset, "--dataset", run.dataset]
    for name, (_, value) in changed.items():
        words += ["--set", f"{name}={_as_json(value)}"]
    return settings, _as_differences(changed), shlex.join(words)


def changed_from(parent: TrainSpec, spec: TrainSpec) -> tuple[Difference, ...]:
    """Return the settings of a clone that differ from those of the run that it was cloned from."""
    return _as_differences(differences(spec, parent))


def _as_differences(changed: Mapping[str, tuple[Any, Any]]) -> tuple[Difference, ...]:
    return tuple(Difference(name, old, new) for name, (old, new) in changed.items())


def _as_json(value: Any) -> str:
    """The value as `--set` reads it: as JSON, or as text if it is not JSON."""
    if isinstance(value, float) and float(short := number(value)) == value:
        return short
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except json.JSONDecodeError:
        return value
    return json.dumps(value)
