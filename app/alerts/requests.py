"""What people ask to be told of, and where."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from app.fields import Line, LongLine, RequestBody
from trainer.spec.part import FiniteFloat


class Occasion(StrEnum):
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    PROBLEM = "problem"
    THRESHOLD = "threshold"
    QUEUE_EMPTY = "queue_empty"
    DISK_LOW = "disk_low"


OF_RUNS = (Occasion.FINISHED, Occasion.FAILED, Occasion.STOPPED, Occasion.PROBLEM, Occasion.THRESHOLD)
# The services that apprise may send to, by the schemes of their URLs. Others run programs or write files here.
SCHEMES = frozenset({
    "json", "jsons", "form", "forms", "xml", "xmls", "mailto", "mailtos", "slack", "discord", "workflow", "workflows",
    "msteams", "ntfy", "ntfys", "tgram", "gotify", "gotifys", "pover", "matrix", "matrixs", "mmost", "mmosts", "rocket",
    "rockets", "zulip", "pagerduty", "opsgenie", "signal", "signals",
})  # fmt: skip


class Threshold(RequestBody):
    """A value of the series above, or below, this one."""

    series: Line
    above: FiniteFloat | None = None
    below: FiniteFloat | None = None

    @model_validator(mode="after")
    def has_one_side(self) -> Threshold:
        if (self.above is None) == (self.below is None):
            raise ValueError("give either above or below")
        return self

    def is_passed(self, value: float) -> bool:
        return value > self.above if self.above is not None else self.below is not None and value < self.below


class NewAlert(RequestBody):
    """Without `run` and `project`, all runs are meant."""

    on: list[Occasion] = Field(min_length=1, max_length=len(Occasion))
    target: Annotated[LongLine, StringConstraints(min_length=1)] = Field(
        description="An apprise URL, such as ntfys://ntfy.sh/topic, mailtos://user:password@example.org, "
        "slack://…, or jsons://host/path for a webhook. It is never shown again."
    )
    name: Line = ""
    run: Line | None = None
    project: Line | None = None
    threshold: Threshold | None = None

    @field_validator("target")
    @classmethod
    def is_of_a_service(cls, target: str) -> str:
        scheme = urlsplit(target).scheme.lower() if re.match(r"[a-z]+://", target, re.IGNORECASE) else ""
        if scheme not in SCHEMES:
            raise ValueError(f"must begin with a service that messages are sent to: {', '.join(sorted(SCHEMES))}")
        return target

    @model_validator(mode="after")
    def fits(self) -> NewAlert:
        if (Occasion.THRESHOLD in self.on) != (self.threshold is not None):
            raise ValueError("threshold goes with the occasion threshold")
        if (self.run or self.project) and not set(self.on) & set(OF_RUNS):
            raise ValueError("the queue and the disk are of no run and no project")
        return self


def shown_target(target: str) -> str:
    """The service and the host of a target, without what may be secret."""
    parts = urlsplit(target)
    return f"{parts.scheme}://{parts.hostname or ''}/…"
