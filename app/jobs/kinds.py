"""The two kinds of job and how they differ: runs are trained, tasks are other work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session, col

from app.jobs.ingest import ingest
from app.jobs.task_files import free_cancelled
from app.jobs.task_ingest import ingest_task
from app.jobs.tasks import publish_task
from app.runs.public import publish_run
from app.runs.query import queue_order
from app.settings import Settings
from app.storage.tables import Job, Run, Source, Task
from trainer.process.assignment import Assignment, TaskAssignment
from trainer.rundir.events import Event

TASK_STOP_SECONDS = 5.0  # a task has nothing to save, and others wait behind it

# A row of the kind's own table: the type Job is too wide for the parameters below.
AnyJob = Any


@dataclass(frozen=True)
class Kind:
    """`root` returns the folder of the home that holds the jobs' directories; `order` returns the queue's sort columns.

    `trained` returns the conditions of the rows that need a trainer: not script runs, which are followed only.
    `ingest` writes new events to rows and returns the `end` event once it was read; `publish` sends the job's state to
    the live feed; `assignment` returns what a trainer is started with; `result` returns the columns that a finished
    job's `end` event sets; `stop_seconds` is the time in which a trainer must stop before it is killed; `free` removes
    what a stopped job does not need any more. A job that `is_left` ends even if its killed process does not: in an
    uninterruptible read of a disk or network file system that does not respond.
    """

    table: type[Run] | type[Task]
    trained: Callable[[], list[Any]]
    root: Callable[[Settings], Path]
    order: Callable[[], list[Any]]
    ingest: Callable[[Session, AnyJob, Path], Event | None]
    publish: Callable[[Session, AnyJob], None]
    assignment: Callable[[Job, Path, Settings, str], Assignment | TaskAssignment]
    result: Callable[[Event], dict[str, Any]]
    stop_seconds: Callable[[Settings], float]
    free: Callable[[Settings, Path], None]
    is_left: bool


def _run_assignment(job: Job, folder: Path, settings: Settings, device: str) -> Assignment:
    return Assignment(
        run_dir=str(folder.resolve()),
        datasets=str(settings.datasets.resolve()),
        device=device,
        attempt=job.attempt,
        orphan_seconds=settings.orphan_seconds,
        cache=str(settings.execution_cache.resolve()),
        others=tuple(getattr(job, "other_devices", None) or ()),
    )


def _task_assignment(job: Job, folder: Path, _settings: Settings, _device: str) -> TaskAssignment:
    return TaskAssignment(run_dir=str(folder.resolve()), attempt=job.attempt)


RUN = Kind(
    table=Run,
    trained=lambda: [col(Run.source) == Source.TRACKSIDE],
    root=lambda settings: settings.runs,
    order=queue_order,
    ingest=ingest,
    publish=publish_run,
    assignment=_run_assignment,
    result=lambda _end: {},
    stop_seconds=lambda settings: settings.stop_seconds,
    free=lambda _settings, _folder: None,
    is_left=False,  # its process may hold the device's memory
)
TASK = Kind(
    table=Task,
    trained=lambda: [],
    root=lambda settings: settings.tasks,
    order=lambda: [col(Task.key)],
    ingest=ingest_task,
    publish=publish_task,
    assignment=_task_assignment,
    result=lambda end: {"result": end.get("result")},
    stop_seconds=lambda settings: min(settings.stop_seconds, TASK_STOP_SECONDS),
    free=lambda settings, folder: free_cancelled(folder, settings.datasets),
    is_left=True,
)
KINDS = (RUN, TASK)
