"""Tasks: long work other than training, queued and followed like runs (trainer/tasks.py does the work)."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from sqlmodel import Session, col, select

from app.errors import ApiError, not_found
from app.jobs.task_files import free_cancelled
from app.runs.public import ErrorPublic
from app.settings import Settings
from app.storage.changes import publish
from app.storage.db import Database
from app.storage.tables import ACTIVE, Status, Task, now
from app.storage.transitions import move
from trainer.rundir.folder import TaskDir
from trainer.rundir.journal import journal
from trainer.spec.tasks import (
    REQUEST,
    AnyRequest,
    DatasetRequest,
    OnUnreadable,
    Places,
    PredictRequest,
    TaskKind,
    task_file,
)
from trainer.system.controls import without_controls
from trainer.system.durable import remove_folder, set_aside, sync_folder, write_durably


class TaskPublic(BaseModel):
    id: str
    kind: TaskKind
    status: Status
    progress: float
    done: int
    total: int
    what: str
    request: dict[str, Any]
    result: dict[str, Any] | None
    error: ErrorPublic | None
    created_at: datetime
    finished_at: datetime | None


class Tasks:
    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings

    def new_folder(self) -> Path:
        """Create the folder of a new task. An upload may be written to it before the task exists."""
        folder = self.settings.tasks / secrets.token_hex(5)
        folder.mkdir(parents=True)
        return folder

    def create_with_upload(
        self,
        file: Path | None,
        check: Callable[[TaskDir], object],
        request: Callable[[TaskDir], AnyRequest],
        *,
        manifest: Path | None = None,
    ) -> TaskPublic:
        """Queue a task on an uploaded file or manifest, which is moved. If anything raises, the folder is removed.

        `check` looks at what was moved, and `request` makes the task's request, which names it.
        """
        folder = TaskDir(self.new_folder().resolve())
        try:
            for received, kept in ((file, folder.upload), (manifest, folder.manifest)):
                if received is not None:
                    shutil.move(received, kept)
            check(folder)
            return self.create(folder.path, request(folder))
        except BaseException:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise

    def create(self, folder: Path, request: AnyRequest) -> TaskPublic:
        """Queue a task in `folder`. The directory is written first, then the row."""
        TaskDir(folder).events_folder.mkdir()
        places = Places(datasets=self.settings.datasets.resolve(), runs=self.settings.runs.resolve())
        write_durably(TaskDir(folder).request, task_file(request, places))
        write_durably(TaskDir(folder).committed, b"")
        sync_folder(folder.parent)
        row = Task(id=folder.name, kind=request.kind, request=request.as_dict())
        with self.database.write() as session:
            session.add(row)
            session.flush()
            publish_task(session, row)
        return task_public(row)

    def retry(self, task_id: str, on_unreadable: OnUnreadable) -> TaskPublic:
        """Queue a failed task again, and move its upload to the new one. Raises ApiError 404, 409.

        `on_unreadable` is for datasets.
        """
        old = self.get(task_id)
        if old.status != Status.FAILED:
            raise ApiError(409, "not_failed", f"The task is {_told(old.status)}: there is nothing to do again.")
        request, folder = REQUEST.validate_python({**old.request, "kind": old.kind}), self.new_folder()
        if isinstance(request, DatasetRequest):
            request = request.model_copy(update={"on_unreadable": on_unreadable})
        moved = {}
        for name in _sent_files(request):
            kept = Path(getattr(request, name))
            try:
                moved[name] = str(kept.rename(folder.resolve() / kept.name))
            except FileNotFoundError:
                shutil.rmtree(folder)
                raise ApiError(409, "upload_gone", "The upload has been used already: send it again.") from None
        return self.create(folder, request.model_copy(update=moved))

    def cancel(self, task_id: str) -> TaskPublic:
        """Cancel a queued task at once; ask for the end of a running one, which its worker sees to.

        Raises ApiError 404; 409: it has ended, or is being cancelled.
        """
        with self.database.write() as session:
            row = _row_of(session, task_id)
            if row.status not in (Status.QUEUED, Status.STARTING, Status.RUNNING):
                reason = "being cancelled already" if row.status == Status.STOPPING else _told(row.status)
                raise ApiError(409, "not_running", f"The task is {reason}: there is nothing to cancel.")
            with suppress(FileNotFoundError):  # the folder was deleted by hand: nothing is left to start again
                journal(self._folder(task_id), "stop")
            if row.status == Status.QUEUED:
                move(session, row, Status.STOPPED, finished_at=now())
            else:
                move(session, row, Status.STOPPING)
            publish_task(session, row)
        if row.status == Status.STOPPED:
            free_cancelled(self._folder(task_id), self.settings.datasets)
        return task_public(row)

    def delete(self, task_id: str) -> None:
        """Delete a task with its upload and its results. Raises ApiError 404; 409: it is active."""
        with self.database.write() as session:
            row = _row_of(session, task_id)
            if row.status in ACTIVE:
                raise ApiError(409, "task_active", f"The task is {row.status}: cancel it first.")
            removed = set_aside(self._folder(task_id))
            session.delete(row)
            publish(session, task_id, "task_deleted", {"task": task_id})
        remove_folder(removed)

    def get(self, task_id: str) -> TaskPublic:
        with self.database.read() as session:
            return task_public(_row_of(session, task_id))

    def list(self, kind: TaskKind | None = None, limit: int = 20) -> list[TaskPublic]:
        """Return the tasks, newest first."""
        statement = select(Task).order_by(col(Task.key).desc()).limit(limit)
        if kind is not None:
            statement = statement.where(Task.kind == kind)
        with self.database.read() as session:
            rows = session.exec(statement).all()
        return [task_public(row) for row in rows]

    def latest(self, kind: Literal["export", "measure"], target: Path) -> TaskPublic | None:
        """The newest of the last 100 tasks of `kind` whose output file is `target`; None if there is none."""
        return next((task for task in self.list(kind, 100) if task.request.get("target") == str(target)), None)

    def predictions(self, task_id: str) -> Path:
        """The file of a task's predictions. Raises ApiError 404: the task has none; 409: it has not finished."""
        task = self.get(task_id)
        if task.kind != "predict" or task.status in (Status.FAILED, Status.STOPPED):
            raise ApiError(404, "no_file", "This task has made no file.")
        if task.status != Status.FINISHED:
            raise ApiError(409, "not_done", f"The task is {task.status}: its file is there once it has finished.")
        path = TaskDir(self._folder(task.id)).predictions
        if not path.exists():
            raise ApiError(404, "no_file", "The task's file is gone.")
        return path

    def _folder(self, task_id: str) -> Path:
        return self.settings.tasks / task_id


def _row_of(session: Session, task_id: str) -> Task:
    """Return the task's row. Raises ApiError 404."""
    row = session.exec(select(Task).where(Task.id == task_id)).first()
    if row is None:
        raise not_found("task", task_id)
    return row


def _sent_files(request: AnyRequest) -> Iterator[str]:
    """The fields of a request that are paths of what was sent with it."""
    if isinstance(request, DatasetRequest | PredictRequest) and request.label:
        yield "source"
    if isinstance(request, DatasetRequest) and request.manifest:
        yield "manifest"


def upload_label(filename: str) -> str:
    """The name of an uploaded file as it is shown and recorded."""
    return (without_controls(filename) or TaskDir(Path()).upload.name)[:200]


def _told(status: str) -> str:
    return "cancelled" if status == Status.STOPPED else status


def task_public(row: Task) -> TaskPublic:
    progress = 1.0 if row.status == Status.FINISHED else row.done / row.total if row.total else 0.0
    return TaskPublic(**row.model_dump(), progress=progress)


def publish_task(session: Session, row: Task) -> None:
    """Send the task's state to the live feed."""
    publish(session, row.id, "task", task_public(row).model_dump(mode="json"))
