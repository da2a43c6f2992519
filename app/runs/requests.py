"""Request bodies about runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from app.fields import Integer, Line, Overrides, RequestBody, Tags, Text, not_empty
from trainer.spec.optimizer_spec import ScheduleSpec
from trainer.spec.part import FiniteFloat


class NewRun(RequestBody):
    dataset: Line
    preset: Line
    name: Line | None = None
    tags: Tags = Field([])
    group: Line | None = None
    project: Line = ""
    expectation: Text = ""
    overrides: Overrides = Field({})
    priority: Integer = Field(0, ge=-100, le=100)


class RunPatch(RequestBody):
    name: Annotated[Line, AfterValidator(not_empty)] = ""
    notes: Text = ""
    tags: Tags = Field([])
    starred: bool = False
    expectation: Text = ""
    project: Line = ""


class StopRequest(RequestBody):
    mode: Literal["now", "wind-down"] = "now"


class ResumeRequest(RequestBody):
    extend_epochs: Integer = Field(0, ge=0, le=100_000)
    schedule: ScheduleSpec | None = Field(
        None, description="Schedule of the added epochs; by default the run's own, repeated."
    )
    lr: FiniteFloat | None = Field(None, gt=0, le=10, description="Peak learning rate of the added epochs.")

    @model_validator(mode="after")
    def schedule_needs_epochs(self) -> ResumeRequest:
        if (self.schedule or self.lr) and not self.extend_epochs:
            raise ValueError("a schedule or rate is for added epochs: say extend_epochs")
        return self

    @property
    def extension(self) -> dict[str, Any] | None:
        """What the trainer reads of it (trainer.rundir.spec.extensions)."""
        given: dict[str, Any] = {} if self.schedule is None else {"schedule": self.schedule.model_dump(mode="json")}
        return (given | ({} if self.lr is None else {"lr": self.lr})) or None


class CloneRequest(RequestBody):
    name: Line | None = None
    overrides: Overrides = Field({})
    from_step: Integer | None = Field(None, ge=0)
