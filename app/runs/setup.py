"""The settings of a run, its differences from the preset, and the command that repeats the training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.display.formatting import number
from app.runs.public import RunPublic
from trainer.spec.preset import build_spec, differences, flatten, presets


@dataclass(frozen=True)
class Difference:
    field: str
    old: Any
    new: Any


def setup_of(run: RunPublic) -> tuple[tuple[tuple[str, Any], ...], tuple[Difference, ...], str]:
    """Return the settings, the differences from the preset, and the command.

    The last two are empty if the preset is unknown.
    """
    spec = run.train_spec
    settings = tuple(flatten(spec).items())
    if spec.preset not in presets():
        return settings, (), ""
    changed = differences(spec, build_spec(run.dataset, spec.preset))
    words = [f"trackside train --preset {spec.preset} --dataset {run.dataset}"]
    words += [f"--set {name}={_as_argument(value)}" for name, (_, value) in changed.items()]
    return settings, tuple(Difference(name, old, new) for name, (old, new) in changed.items()), " ".join(words)


def _as_argument(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"'[{', '.join(map(str, value))}]'"
    return "null" if value is None else number(value)
