"""What goes in and out about runs: requests, answers, and a page of them."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from app.tables import ACTIVE, Run, Status

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def _no_control(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return text


def _one_line(text: str) -> str:
    if "\n" in text:
        raise ValueError("must be one line")
    return _no_control(text.strip())


Line = Annotated[str, Field(max_length=200), AfterValidator(_one_line)]
Text = Annotated[str, Field(max_length=20_000), AfterValidator(_no_control)]
Tags = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_one_line)]], Field(max_length=30)
]
Scalar = bool | int | float | str | list[int] | None


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class NewRun(Request):
    dataset: Line
    preset: Line
    name: Line | None = None
    tags: Tags = []
    group: Line | None = None
    expectation: Text = ""
    overrides: dict[str, Scalar] = {}
    priority: int = Field(0, ge=-100, le=100)


class RunPatch(Request):
    name: Annotated[Line, Field(min_length=1)] = ""
    notes: Text = ""
    tags: Tags = []
    starred: bool = False
    expectation: Text = ""


class StopRequest(Request):
    mode: Literal["now"] = "now"


class ResumeRequest(Request):
    extend_epochs: int = Field(0, ge=0, le=100_000)


class CloneRequest(Request):
    name: Line | None = None
    overrides: dict[str, Scalar] = {}
    from_step: int | None = Field(None, ge=0)


class RunQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    dataset: Line | None = None
    model: Line | None = None
    tag: Line | None = None
    group: Line | None = None
    q: Line | None = None
    sort: Literal[
        "created_at", "-created_at", "name", "-name", "status", "-status", "best_acc", "-best_acc",
        "finished_at", "-finished_at",
    ] = "-created_at"  # fmt: skip
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=500)

    @field_validator("cursor")
    @classmethod
    def cursor_is_ours(cls, cursor: str | None) -> str | None:
        if cursor is not None:
            _decode_cursor(cursor)
        return cursor

    def after(self) -> tuple[Any, int] | None:
        return None if self.cursor is None else _decode_cursor(self.cursor)

    def cursor_after(self, value: Any, key: int | None) -> str:
        return base64.urlsafe_b64encode(orjson.dumps([value, key], default=str)).decode()


def _decode_cursor(cursor: str) -> tuple[Any, int]:
    try:
        value, key = orjson.loads(base64.urlsafe_b64decode(cursor))
        if not isinstance(key, int) or not isinstance(value, str | int | float):
            raise ValueError
    except (ValueError, binascii.Error):
        raise ValueError("is not a cursor that a listing gave") from None
    return value, key


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

    def live(self) -> dict[str, Any]:
        """The body of a `status` event."""
        return {"run": self.id, **self.model_dump(mode="json", exclude={"id", "spec", "notes", "expectation", "seq"})}


class RunPage(BaseModel):
    items: list[RunPublic]
    next_cursor: str | None


def public(row: Run, seq: int = 0) -> RunPublic:
    progress = min(1.0, row.step / row.total_steps) if row.total_steps else 0.0
    eta = None
    if row.status in ACTIVE and row.throughput and row.total_steps:
        eta = (row.total_steps - row.step) * row.spec["batch_size"] / row.throughput
    return RunPublic(**row.model_dump(), progress=progress, eta_seconds=eta, seq=seq)
