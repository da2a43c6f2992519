"""The settings of a run, its differences from the preset, and the command that repeats the training."""

from __future__ import annotations

import json
import shlex
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
    words = ["trackside", "train", "--preset", spec.preset, "--dataset", run.dataset]
    for name, (_, value) in changed.items():
        words += ["--set", f"{name}={_as_json(value)}"]
    return settings, tuple(Difference(name, old, new) for name, (old, new) in changed.items()), shlex.join(words)


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
