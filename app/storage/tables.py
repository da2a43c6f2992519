"""The database tables: an index of the run directories, and the queue."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine
from sqlmodel import Field, SQLModel


def now() -> datetime:
    return datetime.now(UTC)


class LargeInteger(TypeDecorator[int]):
    """64 bits. SQLite's integers always have them."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())


class Status(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


ACTIVE = (Status.STARTING, Status.RUNNING, Status.STOPPING)
ENDED = (Status.FINISHED, Status.STOPPED, Status.FAILED)


class Job(SQLModel):
    """The columns that runs and tasks share: status, claim, trainer process, and position in the event file."""

    key: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True, index=True, max_length=32)
    status: str = Field(default=Status.QUEUED, index=True)
    phase: str | None = None
    claim: int = 0
    attempt: int = 0
    deaths: int = 0
    worker: str | None = None
    host: str | None = None
    device: str | None = None
    pid: int | None = None
    lease_until: datetime | None = None
    tail_attempt: int = 0
    tail_offset: int = Field(default=0, sa_type=LargeInteger)
    error: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    created_at: datetime = Field(default_factory=now, index=True)
    started_at: datetime | None = None
    finished_at: datetime | None = None


# What the list of runs filters and sorts by. As columns of one index they are read without the specs beside them, which
# fill a page per run: the list of ten thousand runs takes a fifth of the time.
LISTED = (
    "created_at", "status", "dataset", "model", "group", "preset", "name", "tags", "changed", "starred", "best_acc",
    "started_at", "finished_at", "epoch", "step", "total_steps", "throughput", "device", "id", "parent", "project",
    "source",
)  # fmt: skip


class Source(StrEnum):
    """Who trains a run: Trackside's own trainer, or a script that sends what it logs."""

    TRACKSIDE = "trackside"
    SCRIPT = "script"


class Run(Job, table=True):
    """`place` orders the queue within a priority: the UNIX time of queueing, or a value set when users reorder it.

    It trains on `devices` at once: on `device`, and while it is active on the `other_devices`, of the same machine or
    of nodes.

    `search` is the id of the search that the run is a trial of, `trial` its number in it, from 0, and `params` are the
    values that the search has chosen, by setting.
    """

    __table_args__ = (
        Index("ix_run_listed", *LISTED).ddl_if(dialect="sqlite"),
        Index("ix_run_noted", "notes", sqlite_where=text("notes != ''")).ddl_if(dialect="sqlite"),
    )
    name: str
    source: str = Source.TRACKSIDE
    project: str = Field(default="", index=True)
    dataset: str = Field(index=True)
    preset: str | None = None
    model: str = Field(index=True)
    spec: dict[str, Any] = Field(sa_type=JSON)
    changed: list[Any] = Field(default_factory=list, sa_type=JSON)
    group: str | None = Field(default=None, index=True)
    parent: str | None = None
    parent_step: int | None = Field(default=None, sa_type=LargeInteger)
    search: str | None = Field(default=None, index=True)
    trial: int | None = None
    params: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    tags: list[str] = Field(default_factory=list, sa_type=JSON)
    notes: str = ""
    expectation: str = ""
    starred: bool = False
    devices: int = 1
    other_devices: list[str] | None = Field(default=None, sa_type=JSON)
    priority: int = 0
    place: float = Field(default_factory=lambda: now().timestamp())
    idempotency_key: str | None = Field(default=None, unique=True)
    idempotency_body: str | None = None
    epoch: int = 0
    step: int = Field(default=0, sa_type=LargeInteger)
    epochs: int = 0
    total_steps: int | None = Field(default=None, sa_type=LargeInteger)
    steps_per_epoch: int | None = None
    throughput: float | None = None
    best_acc: float | None = None
    best_step: int | None = Field(default=None, sa_type=LargeInteger)
    best_epoch: int | None = None
    val_count: int | None = None
    summary: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    spark: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)


class ScriptRecord(SQLModel, table=True):
    """What only a script run has. `passed_over` counts the lines and values of its events that could not be used.

    `train_loss` and `val_loss` are the series that are taken for the training and the validation loss.
    """

    run: int = Field(primary_key=True, foreign_key="run.key", ondelete="CASCADE")
    config: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    environment: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    passed_over: int = 0
    train_loss: str | None = None
    val_loss: str | None = None


class Media(SQLModel, table=True):
    """An image or a text that a script logged. An image is a file of the run's directory, by its hash."""

    __table_args__ = (Index("ix_media_run_name_step", "run", "name", "step"),)
    key: int | None = Field(default=None, primary_key=True)
    run: int = Field(foreign_key="run.key", ondelete="CASCADE")
    kind: str
    name: str
    step: int = Field(sa_type=LargeInteger)
    number: int = 0
    time: float
    sha256: str | None = None
    format: str | None = None
    text: str = ""


class LoggedFile(SQLModel, table=True):
    """A file that a script saved: the latest of each path."""

    __table_args__ = (UniqueConstraint("run", "path"),)
    key: int | None = Field(default=None, primary_key=True)
    run: int = Field(foreign_key="run.key", ondelete="CASCADE")
    path: str
    sha256: str
    size: int = Field(sa_type=BigInteger)
    time: float


class ValueName(SQLModel, table=True):
    """The name of a setting, such as `optimizer.lr`, or of a metric of the summary, such as `val/acc`."""

    key: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)


class RunValue(SQLModel, table=True):
    """A run's settings and the metrics of its summary, a row per value: the list of runs searches and sorts by them.

    Numbers and truth values are in `number`, texts and lists in `text`; both are null for a setting that is null.
    """

    __table_args__ = {"sqlite_with_rowid": False}
    name: int = Field(primary_key=True, foreign_key="valuename.key")
    run: int = Field(primary_key=True, foreign_key="run.key", ondelete="CASCADE", index=True)
    number: float | None = None
    text: str | None = None


class Task(Job, table=True):
    kind: str
    request: dict[str, Any] = Field(sa_type=JSON)
    done: int = 0
    total: int = 0
    what: str = ""
    result: dict[str, Any] | None = Field(default=None, sa_type=JSON)


class Series(SQLModel, table=True):
    __table_args__ = (UniqueConstraint("run", "name"),)
    key: int | None = Field(default=None, primary_key=True)
    run: int = Field(foreign_key="run.key", ondelete="CASCADE")
    name: str
    total: int = Field(default=0, sa_type=LargeInteger)
    packed: int = Field(default=0, sa_type=LargeInteger)
    packed_step: int = Field(default=-1, sa_type=LargeInteger)
    last_step: int = Field(default=-1, sa_type=LargeInteger)


class Point(SQLModel, table=True):
    """The tail of each series: points that are not packed into a chunk yet."""

    __table_args__ = {"sqlite_with_rowid": False}
    series: int = Field(primary_key=True, foreign_key="series.key", ondelete="CASCADE")
    step: int = Field(primary_key=True, sa_type=LargeInteger)
    value: float | None = None
    kind: str | None = None
    time: float


class Chunk(SQLModel, table=True):
    """A block of `count` points: steps int64, values float64, times float64, little-endian, concatenated.

    The values may be non-finite. `level`, packed alike, holds the extremes of buckets `width` steps wide; `width` is
    null in chunks that were written before it was recorded.
    """

    __table_args__ = (UniqueConstraint("series", "number"),)
    key: int | None = Field(default=None, primary_key=True)
    series: int = Field(foreign_key="series.key", ondelete="CASCADE", index=True)
    number: int
    count: int
    first_step: int = Field(sa_type=LargeInteger)
    last_step: int = Field(sa_type=LargeInteger)
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    width: int | None = Field(default=None, sa_type=LargeInteger)
    level: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Level(SQLModel, table=True):
    """Extremes of many chunks, see app/metrics/levels.py; packed like a chunk's points."""

    __table_args__ = {"sqlite_with_rowid": False}
    series: int = Field(primary_key=True, foreign_key="series.key", ondelete="CASCADE")
    level: int = Field(primary_key=True)
    number: int = Field(primary_key=True)
    first_step: int = Field(sa_type=LargeInteger)
    last_step: int = Field(sa_type=LargeInteger)
    width: int = Field(sa_type=LargeInteger)
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LogLine(SQLModel, table=True):
    __table_args__ = (Index("ix_logline_run_key", "run", "key"),)
    key: int | None = Field(default=None, primary_key=True)
    run: int = Field(foreign_key="run.key", ondelete="CASCADE")
    attempt: int
    time: float
    line: str


class Checkpoint(SQLModel, table=True):
    __table_args__ = (UniqueConstraint("run", "step"),)
    key: int | None = Field(default=None, primary_key=True)
    run: int = Field(foreign_key="run.key", ondelete="CASCADE")
    step: int = Field(sa_type=LargeInteger)
    epoch: int
    sha256: str
    size: int = Field(sa_type=LargeInteger)
    metrics: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    best: bool = False
    created_at: datetime = Field(default_factory=now)


class Finding(SQLModel, table=True):
    key: int | None = Field(default=None, primary_key=True)
    run: int = Field(foreign_key="run.key", ondelete="CASCADE", index=True)
    step: int = Field(sa_type=LargeInteger)
    kind: str
    level: str
    message: str
    evidence: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    time: float


class Change(SQLModel, table=True):
    """One event of the live feed: `seq` is the event id that every client receives."""

    __table_args__ = {"sqlite_autoincrement": True}
    seq: int | None = Field(default=None, primary_key=True)
    run: str = Field(index=True)
    kind: str
    payload: str
    time: float


class Worker(SQLModel, table=True):
    """`ready`: its device has passed its test, so that runs may be trained on it."""

    id: str = Field(primary_key=True)
    host: str
    pid: int
    device: str
    description: str = ""
    started_at: datetime = Field(default_factory=now)
    seen_at: datetime = Field(default_factory=now)
    run: str | None = None
    ready: bool = False


class DeviceSample(SQLModel, table=True):
    """Utilization of a device: a single sample if `seconds` is 0, else the mean of that many seconds from `time`."""

    __table_args__ = {"sqlite_with_rowid": False}
    host: str = Field(primary_key=True)
    device: str = Field(primary_key=True)
    seconds: int = Field(primary_key=True)
    time: float = Field(primary_key=True)
    utilisation: float
    memory: int = Field(sa_type=BigInteger)
    memory_total: int = Field(sa_type=BigInteger)
    temperature: float | None = None


class HomeMark(SQLModel, table=True):
    """The home that a database outside of it belongs to: app.storage.ownership."""

    id: str = Field(primary_key=True)
    path: str
