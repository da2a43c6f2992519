"""Validation of events when they are read: a file that is corrupt or was edited by hand must not stop a worker."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
MOST = 2**53
LATEST = 2e11  # UNIX seconds; the year 8307

Count = Annotated[int, Field(ge=0, le=MOST)]
Text = Annotated[str, Field(max_length=100_000)]
Short = Annotated[str, Field(max_length=1000)]


class _Event(BaseModel):
    model_config = ConfigDict(strict=True)

    t: float = Field(ge=0, le=LATEST)


class Start(_Event):
    from_step: Count
    total_steps: Count
    steps_per_epoch: Annotated[int, Field(ge=1, le=MOST)]
    epochs: Count
    val_count: Count
    device: Short
    parameters: Count = 0


class Plan(_Event):
    total_steps: Count
    epochs: Count


class Phase(_Event):
    phase: Short


class Epoch(_Event):
    epoch: Count


class CheckpointSaved(_Event):
    step: Count
    epoch: Count
    sha256: Short
    size: Count
    metrics: dict[str, float | None]
    best: bool


class Pruned(_Event):
    steps: list[Count] = Field(max_length=10_000)


class FindingSeen(_Event):
    step: Count
    kind: Short
    level: Short
    message: Text
    evidence: dict[str, Any] = {}


class FindingEnded(_Event):
    """The latest finding of `kind` no longer holds."""

    step: Count
    kind: Short


class Line(_Event):
    line: Text


class Cause(BaseModel):
    code: Short
    message: Text
    detail: Any = None


class End(_Event):
    reason: Literal["finished", "failed", "interrupted", "orphaned", "held"]
    step: Count | None
    summary: dict[str, Any]
    error: Cause | None


class Progress(_Event):
    done: Count
    total: Count
    what: Text


SHAPES: dict[str, type[_Event]] = {
    "start": Start,
    "plan": Plan,
    "phase": Phase,
    "epoch": Epoch,
    "checkpoint": CheckpointSaved,
    "pruned": Pruned,
    "finding": FindingSeen,
    "finding_ended": FindingEnded,
    "log": Line,
    "end": End,
    "progress": Progress,
}


def is_well_formed(event: dict[str, Any]) -> bool:
    """Return whether an event of a known kind has its required fields. Unknown kinds and fields are accepted."""
    if event["e"] == "metrics":  # by far the most frequent: this check takes microseconds
        step, time, values = event.get("step"), event.get("t"), event.get("v")
        return (
            isinstance(step, int)
            and 0 <= step <= MOST
            and isinstance(time, float | int)
            and 0 <= time <= LATEST
            and isinstance(values, dict)
            and all(type(x) is float or type(x) is int or (type(x) is str and x in NONFINITE) for x in values.values())
        )
    shape = SHAPES.get(event["e"]) if isinstance(event["e"], str) else None
    if shape is None:
        return True
    try:
        shape.model_validate(event)
    except ValidationError:
        return False
    return True
