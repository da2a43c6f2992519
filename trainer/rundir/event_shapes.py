"""Validation of events when they are read: a file that is corrupt or was edited by hand must not stop a worker."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
MOST = 2**53
LATEST = 2e11  # UNIX seconds; the year 8307
LONGEST_NAME = 500  # characters of a script's series

Count = Annotated[int, Field(ge=0, le=MOST)]
Text = Annotated[str, Field(max_length=100_000)]
Short = Annotated[str, Field(max_length=1000)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


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
    others: list[Short] = []
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


Shapes = Mapping[str, type[_Event]]
SHAPES: Shapes = {
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


class SessionStart(_Event):
    """The first line of a script's session: how long the script will run is not known."""

    from_step: Count
    session: Short


class Values(_Event):
    """A part of the configuration, of the summary, or of the environment."""

    v: dict[str, Any]


class LongLine(_Event):
    """A line that a script printed; ingest cuts one that is too long."""

    line: str


class TextLogged(_Event):
    step: Count
    key: Name
    text: Text


class ImageLogged(_Event):
    step: Count
    key: Name
    index: Count
    sha256: Digest
    size: Count
    format: Literal["png", "jpeg", "gif", "webp"]
    caption: Short | None = None


class FileLogged(_Event):
    path: Short
    sha256: Digest
    size: Count


class SessionEnd(_Event):
    status: Literal["finished", "failed", "stopped"]
    exit_code: int | None = None
    error: Cause | None = None
    summary: dict[str, Any] | None = None


SCRIPT_SHAPES: Shapes = {
    "start": SessionStart,
    "config": Values,
    "summary": Values,
    "environment": Values,
    "log": LongLine,
    "text": TextLogged,
    "image": ImageLogged,
    "file": FileLogged,
    "end": SessionEnd,
}


def is_well_formed(event: dict[str, Any], shapes: Shapes = SHAPES) -> bool:
    """Return whether an event of a known kind has its required fields. Unknown kinds and fields are accepted."""
    if event["e"] == "metrics":  # by far the most frequent: this check takes microseconds
        step, time, values = event.get("step"), event.get("t"), event.get("v")
        return (
            type(step) is int
            and 0 <= step <= MOST
            and isinstance(time, float | int)
            and 0 <= time <= LATEST
            and isinstance(values, dict)
            and (shapes is SCRIPT_SHAPES or all(map(is_value, values.values())))
        )
    shape = shapes.get(event["e"]) if isinstance(event["e"], str) else None
    if shape is None:
        return isinstance(event["e"], str)
    try:
        shape.model_validate(event)
    except ValidationError:
        return False
    return True


def is_value(value: Any) -> bool:
    """Whether a series can have this value: a number, or the name of one that is not finite."""
    return type(value) is float or type(value) is int or (type(value) is str and value in NONFINITE)
