"""Tasks: heavy work besides training, queued and watched like runs: adding a data set, exporting a model."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel
from sqlmodel import col, select

from app.changes import publish
from app.db import Database
from app.errors import ApiError, not_found
from app.run_models import ErrorPublic
from app.settings import Settings
from app.tables import Status, Task
from trainer.durable import sync_folder, write_durably


class TaskPublic(BaseModel):
    id: str
    kind: str
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
        """A fresh task's folder, into which an upload may be written before the task exists."""
        folder = self.settings.tasks / secrets.token_hex(5)
        folder.mkdir(parents=True)
        return folder

    def create(self, folder: Path, kind: str, request: dict[str, Any]) -> TaskPublic:
        """Queue a task in `folder`: the directory first, then the row."""
        (folder / "events").mkdir()
        full = {**request, "kind": kind, "datasets": str(self.settings.datasets.resolve())}
        write_durably(folder / "task.json", orjson.dumps(full))
        write_durably(folder / "committed", b"")
        sync_folder(folder.parent)
        row = Task(id=folder.name, kind=kind, request=request)
        with self.database.write() as session:
            session.add(row)
            session.flush()
            publish(session, row.id, "task", task_public(row).model_dump(mode="json"))
        return task_public(row)

    def retry(self, task_id: str, changed: dict[str, Any]) -> TaskPublic:
        """Queue a failed task anew with other settings; its upload goes over. Raises ApiError 404, 409."""
        old = self.get(task_id)
        if old.status != Status.FAILED:
            raise ApiError(409, "not_failed", f"The task is {old.status}: there is nothing to do again.")
        request, folder = {**old.request, **changed}, self.new_folder()
        if old.request.get("label"):
            kept = Path(old.request["source"])
            try:
                request["source"] = str(kept.rename(folder.resolve() / kept.name))
            except FileNotFoundError:
                folder.rmdir()
                raise ApiError(409, "upload_gone", "The upload has been used already: send it again.") from None
        return self.create(folder, old.kind, request)

    def get(self, task_id: str) -> TaskPublic:
        with self.database.read() as session:
            row = session.exec(select(Task).where(Task.id == task_id)).first()
        if row is None:
            raise not_found("task", task_id)
        return task_public(row)

    def list(self, limit: int = 20) -> list[TaskPublic]:
        with self.database.read() as session:
            rows = session.exec(select(Task).order_by(col(Task.key).desc()).limit(limit)).all()
        return [task_public(row) for row in rows]

    def latest(self, kind: str, target: str) -> TaskPublic | None:
        """The newest of the last hundred tasks that makes `target`."""
        for task in self.list(limit=100):
            if task.kind == kind and task.request.get("target") == target:
                return task
        return None


def task_public(row: Task) -> TaskPublic:
    progress = 1.0 if row.status == Status.FINISHED else row.done / row.total if row.total else 0.0
    return TaskPublic(**row.model_dump(), progress=progress)
