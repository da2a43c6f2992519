"""What goes in and out about runs: requests, answers, and a page of them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from app.fields import Line, Overrides, RequestBody, Tags, Text, not_empty
from app.storage.tables import ACTIVE, Run, Status
from trainer.spec.train_spec import FiniteFloat, ScheduleSpec


class NewRun(RequestBody):
    dataset: Line
    preset: Line
    name: Line | None = None
    tags: Tags = Field([])
    group: Line | None = None
    expectation: Text = ""
    overrides: Overrides = Field({})
    priority: int = Field(0, ge=-100, le=100)


class RunPatch(RequestBody):
    name: Annotated[Line, AfterValidator(not_empty)] = ""
    notes: Text = ""
    tags: Tags = Field([])
    starred: bool = False
    expectation: Text = ""


class StopRequest(RequestBody):
    mode: Literal["now", "wind-down"] = "now"


class ResumeRequest(RequestBody):
    extend_epochs: int = Field(0, ge=0, le=100_000)
    schedule: ScheduleSpec | None = Field(None, description="Of the added epochs; without it the run's own, once more.")
    lr: FiniteFloat | None = Field(None, gt=0, le=10, description="Highest rate of the added epochs.")

    @model_validator(mode="after")
    def schedule_needs_epochs(self) -> ResumeRequest:
        if (self.schedule or self.lr) and not self.extend_epochs:
            raise ValueError("a schedule or rate is for added epochs: say extend_epochs")
        return self

    @property
    def extension(self) -> dict[str, Any] | None:
        """What the trainer reads of it (trainer.rundir.extensions)."""
        given: dict[str, Any] = {} if self.schedule is None else {"schedule": self.schedule.model_dump(mode="json")}
        return (given | ({} if self.lr is None else {"lr": self.lr})) or None


class CloneRequest(RequestBody):
    name: Line | None = None
    overrides: Overrides = Field({})
    from_step: int | None = Field(None, ge=0)


class RunQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    dataset: Line | None = None
    model: Line | None = None
    tag: Line | None = None
    group: Line | None = None
    starred: bool | None = None
    q: Line | None = None
    sort: Literal[
        "created_at", "-created_at", "name", "-name", "status", "-status", "best_acc", "-best_acc",
        "finished_at", "-finished_at",
    ] = "-created_at"  # fmt: skip
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=500)

    @model_validator(mode="before")
    @classmethod
    def empty_is_not_asked(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""} if isinstance(values, dict) else values

    @field_validator("cursor")
    @classmethod
    def cursor_is_ours(cls, cursor: str | None, info: ValidationInfo) -> str | None:
        if cursor is not None and "sort" in info.data:
            _decode_cursor(cursor, info.data["sort"])
        return cursor

    def after(self) -> tuple[Any, int] | None:
        """The sorted column's value and the key of the last run of the page before."""
        return None if self.cursor is None else _decode_cursor(self.cursor, self.sort)

    def cursor_after(self, value: Any, key: int | None) -> str:
        return base64.urlsafe_b64encode(orjson.dumps([value, key], default=str)).decode()


def _decode_cursor(cursor: str, sort: str) -> tuple[Any, int]:
    try:
        value, key = orjson.loads(base64.urlsafe_b64decode(cursor))
        if type(key) is not int or not 0 <= key < 2**63:
            raise ValueError
        match sort.lstrip("-"):
            case "created_at" | "finished_at":
                return datetime.fromisoformat(value).astimezone(UTC), key
            case "best_acc":
                return float(value), key
            case _ if isinstance(value, str):
                return value, key
        raise ValueError
    except (ValueError, TypeError, OverflowError):  # binascii's error is a ValueError
        raise ValueError("is not a cursor that this listing gave") from None


class LogLinePublic(BaseModel):
    key: int
    time: float
    attempt: int
    line: str


class CheckpointPublic(BaseModel):
    model_config = ConfigDict(extra="ignore")

    step: int
    epoch: int
    sha256: str
    size: int
    metrics: dict[str, Any]
    best: bool
    last: bool
    created_at: datetime


class ErrorPublic(BaseModel):
    code: str
    message: str
    detail: Any = None


class RunPublic(BaseModel):
    id: str
    name: str
    status: Status
    phase: str | None
    dataset: str
    preset: str | None
    model: str
    spec: dict[str, Any]
    changed: list[dict[str, Any]]
    group: str | None
    parent: str | None
    parent_step: int | None
    tags: list[str]
    notes: str
    expectation: str
    starred: bool
    attempt: int
    device: str | None
    epoch: int
    epochs: int
    step: int
    total_steps: int | None
    steps_per_epoch: int | None
    progress: float
    eta_seconds: float | None
    throughput: float | None
    best_acc: float | None
    best_epoch: int | None
    best_step: int | None
    val_count: int | None
    summary: dict[str, Any]
    spark: dict[str, Any]
    error: ErrorPublic | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seq: int = 0

    def live(self, *, spark: bool = True) -> dict[str, Any]:
        """The body of a `status` event; without its sparkline, the bulk of it, where that is as it was."""
        left_out = {"id", "spec", "notes", "expectation", "seq"} | (set() if spark else {"spark"})
        return {"run": self.id, **self.model_dump(mode="json", exclude=left_out)}


class RunPage(BaseModel):
    items: list[RunPublic]
    next_cursor: str | None


def public(row: Run, seq: int = 0) -> RunPublic:
    progress = min(1.0, row.step / row.total_steps) if row.total_steps else 0.0
    eta = None
    if row.status in ACTIVE and row.throughput and row.total_steps:
        eta = (row.total_steps - row.step) * row.spec["batch_size"] / row.throughput
    return RunPublic(**row.model_dump(), progress=progress, eta_seconds=eta, seq=seq)
