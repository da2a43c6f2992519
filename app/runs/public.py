"""Runs as the API returns them, and as the live feed publishes them."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)
from sqlmodel import Session

from app.errors import ApiError
from app.storage.changes import publish
from app.storage.tables import ACTIVE, Run, Source, Status, now
from trainer.plan.schedule import epoch_of
from trainer.spec.part import STORED
from trainer.spec.train_spec import TrainSpec

LEAST_STEPS = 100


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

    @property
    def title(self) -> str:
        """Which checkpoint it is, in words: "best checkpoint, epoch 3"."""
        return f"{'best' if self.best else 'last'} checkpoint, epoch {self.epoch}"


class ErrorPublic(BaseModel):
    code: str
    message: str
    detail: Any = None


class RunPublic(BaseModel):
    id: str
    name: str
    source: Source = Field(description='"script" for a run that a script logs, else "trackside".')
    project: str
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
    search: str | None = Field(description="The search that the run is a trial of.")
    trial: int | None = Field(description="Its number in that search, from 0.")
    params: dict[str, Any] | None = Field(description="The values that the search has chosen, by setting.")
    tags: list[str]
    notes: str
    expectation: str
    starred: bool
    attempt: int
    device: str | None
    devices: int = Field(description="How many devices train the run together.")
    other_devices: list[str] | None = Field(description="Those of them beside `device`, if it has been started.")
    epoch: int
    epochs: int
    step: int
    total_steps: int | None
    steps_per_epoch: int | None
    progress: float
    eta_seconds: float | None
    eta_is_rough: bool = Field(
        description="Whether the estimate may be far off: it is made from the latest steps alone."
    )
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

    @property
    def device_names(self) -> str | None:
        """The devices that the run trains or has trained on, for people."""
        return None if self.device is None else " + ".join([self.device, *(self.other_devices or [])])

    @property
    def is_script(self) -> bool:
        return self.source == Source.SCRIPT

    @cached_property
    def train_spec(self) -> TrainSpec:
        """`spec`, parsed once. Settings that are missing in a run of an older version have their defaults.

        Raises ApiError 409: it is a script's run, which has none.
        """
        if self.is_script:
            raise ApiError(409, "script_run", "This run is a script's: Trackside does not know how it is trained.")
        return TrainSpec.model_validate(self.spec, context=STORED)

    def live(self, *, spark: bool = True) -> dict[str, Any]:
        """Return the body of a `status` event. The sparkline, its largest part, can be left out if unchanged."""
        left_out = {"id", "spec", "notes", "expectation", "seq"} | (set() if spark else {"spark"})
        return {"run": self.id, **self.model_dump(mode="json", exclude=left_out)}


class RunPage(BaseModel):
    items: list[RunPublic]
    next_cursor: str | None


def public(row: Run, seq: int = 0) -> RunPublic:
    progress = min(1.0, row.step / row.total_steps) if row.total_steps else 0.0
    eta, is_rough = _eta(row)
    values = row.model_dump()
    if row.steps_per_epoch:
        values["epoch"] = epoch_of(row.step, row.steps_per_epoch)
    return RunPublic(**values, progress=progress, eta_seconds=eta, eta_is_rough=is_rough, seq=seq)


def _eta(row: Run) -> tuple[float | None, bool]:
    """The seconds that an active run has left, None if unknown, and whether that is rough.

    After an epoch, and LEAST_STEPS, the pace is that of the whole run, with its start and its validations. Before, and
    in a run that was resumed and so has paused, only the speed of the latest steps is known.
    """
    if row.source == Source.SCRIPT or row.status not in ACTIVE or not row.throughput or not row.total_steps:
        return None, False
    left = row.total_steps - row.step
    is_rough = row.attempt > 1 or row.started_at is None or row.step < max(LEAST_STEPS, row.steps_per_epoch or 0)
    if is_rough or row.started_at is None:
        eta = left * row.spec["batch_size"] / row.throughput
    else:
        eta = left * (now() - row.started_at).total_seconds() / row.step
    if minutes := row.spec.get("budget", {}).get("minutes"):
        eta = min(eta, 60 * minutes)  # the steps are planned anew once the speed has been measured
    return eta, is_rough


def took(run: RunPublic) -> float | None:
    if run.started_at is None or run.finished_at is None:
        return None
    return (run.finished_at - run.started_at).total_seconds()


def publish_run(session: Session, row: Run, kind: str = "status") -> None:
    """Publish the run to the live feed: its `status`, or that it was `created`."""
    publish(session, row.id, kind, public(row).live())
